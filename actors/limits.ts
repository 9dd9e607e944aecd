/**
 * Every bound of the runtime, with its reason. A queue without a number here
 * is a bug.
 */

/** Messages that wait for one actor. Above it the sender is told `false`. */
export const MAILBOX_MESSAGES_MAX = 1024;

/** CBOR header of a frame. The largest holds a step's micro-batch numbers and a member list. */
export const FRAME_HEADER_BYTES_MAX = 256 * 1024;

/** Arrays and objects inside each other in a frame's header. The messages need five. */
export const FRAME_HEADER_DEPTH_MAX = 16;

/** Raw tensors of one frame: hidden states of 8 × 2048 tokens × 4096 wide in f32, or one piece of a slice. */
export const FRAME_PAYLOAD_BYTES_MAX = 256 * 1024 * 1024;

/** Tensors in one frame: activation or gradient, targets, and room. */
export const FRAME_TENSORS_MAX = 8;

/** Dimensions of a tensor on the wire. */
export const TENSOR_RANK_MAX = 8;

/** Bytes that wait to be written to one peer. Above it `send` answers `false`. */
export const SEND_QUEUE_BYTES_MAX = 512 * 1024 * 1024;

/** Control frames that wait to be written to one peer. */
export const SEND_QUEUE_FRAMES_MAX = 4096;

/** Peers that one wire holds streams with. */
export const WIRE_PEERS_MAX = 512;

/** Stages of a model: more than the layers of any model that exists. */
export const STAGES_MAX = 1024;

/** Micro-batches of one step; a host reports its whole set in one header. */
export const MICRO_BATCHES_MAX = 4096;

/** Different data in one step: one for each trainer that fed it. All their names still fit one header. */
export const CORPORA_MAX = 1024;

/** Replicas of one stage that take part in one all-reduce. */
export const REPLICAS_MAX = 256;

/** Text of a reason in a message; enough for one sentence. */
export const REASON_CHARACTERS_MAX = 512;

/** Older states that a host offers from its disk. */
export const SNAPSHOTS_OFFERED_MAX = 4;

/** Pieces of one state: their hashes still fit one header. Those of large states are longer than 1 MiB. */
export const STATE_PIECES_MAX = 3500;

/** Micro-batches that a host keeps (queued, or waiting for their gradient). Above it it answers Refused. */
export const HELD_WALKS_MAX = 32;

/**
 * Micro-batches that a trainer has under way, for each host of the first stage: so many for each stage, so
 * that a host has four on the mean. With m of them waiting or computed at a host on the mean it is busy
 * for about m / (m + 1) of the time.
 */
export const WALKS_PER_STAGE = 4;
/** And at most so many, however many stages there are: chance gives some hosts more than the mean, and they have room for it. */
export const WALKS_PER_HOST_MAX = HELD_WALKS_MAX / 2;

/** Time that a refused sender is told to wait: about one micro-batch of a small stage. */
export const REFUSED_RETRY_MS = 25;

/** A host says hello so often. */
export const HELLO_PERIOD_MS = 1000;

/** Silence after which a host counts as lost: eight hellos, for busy machines. A broken connection tells sooner. */
export const SILENCE_MS_MAX = 8000;

/** A host's promise to its coordinator holds through so much silence; then another trainer may win it over. */
export const LEASE_MS = SILENCE_MS_MAX;

/** Hosts whose word makes a step count: most of so many don't die between two heartbeats. */
export const ELECTORS_MAX = 15;

/** Electorates that one host remembers: the settled one, and one for each take-over that failed half-way. */
export const ELECTORATES_MAX = 8;

/** Trainers that a host without a coordinator asks, and that one coordinator lets feed. */
export const COORDINATORS_MAX = 16;

/**
 * A scout looks for a service this long after it began to want it, or after a
 * loss; then after twice as long, and so on. A look costs some dozens of messages.
 */
export const LOOK_PERIOD_MS_MIN = 500;
/** Longest pause while nobody is known, */
export const LOOK_PERIOD_MS_ALONE = 2000;
/** and once somebody is. */
export const LOOK_PERIOD_MS_MAX = 10_000;

/**
 * After a look the scout rests for so many times as long as it took, if it knows somebody: where machines have
 * no time to spare, looks would leave none for the work.
 */
export const LOOK_REST_FACTOR = 3;

/** An announcement is repeated so often, */
export const ANNOUNCE_PERIOD_MS = 20_000;
/** and believed for so long. */
export const ANNOUNCE_VALIDITY_MS = 60_000;

/** A host that accepts and never answers costs this, or this many times the expected time if that is more. */
export const HOP_TIMEOUT_MS_MIN = 5000;
export const HOP_TIMEOUT_FACTOR = 20;

/** A walk that neither finishes nor fails is replayed after this, or after so many of the longest usual walks if that is more. */
export const WALK_TIMEOUT_MS_MIN = 15_000;
export const WALK_TIMEOUT_FACTOR = 4;
/** While no walk comes back at all the time is doubled again and again, up to 16 times the first one. */
export const WALK_TIMEOUT_DOUBLINGS_MAX = 4;

/**
 * Whoever is told that a walk was given up says in this time that it waits for
 * somebody itself, or is to blame: a round trip between busy machines.
 */
export const EXCUSE_MS_MAX = 2000;

/**
 * A host holds a walk that nobody takes, or whose takers are silent, for so long. One that waits its turn at
 * a host that works is not given up here: its issuer does that.
 */
export const OFFER_MS_MAX = 60_000;

/** After a walk's end the coordinator waits this long for reports that travel on other connections. */
export const REPORT_GRACE_MS = 250;

/** Phases of the step that wait for answers of every host: whoever is silent for so long is lost. */
export const PHASE_TIMEOUT_MS = 30_000;

/** The coordinator starts when nobody new has said hello for so long, and every stage has its floor. */
export const GATHER_MS = 750;

/** The next step waits this long for a host whose state transfer came too late twice. */
export const JOIN_HOLD_MS = 10_000;

/** A host that was told to leave goes after this, though the step that it waits for does not end. */
export const LEAVE_MS_MAX = 120_000;

/** A donor keeps the copy of its state that it gives away for so long after the last request. */
export const DONATION_LEASE_MS = 15_000;

/** A donor that owes something and is silent for so long is dropped: 1 MiB over an uplink of 1 Mb/s, and some. */
export const DONOR_SILENCE_MS = 10_000;
/** Of longer pieces it may be silent for as long as they take at this pace. */
export const DONOR_BYTES_PER_SECOND_MIN = 110_000;

/** Hosts that keep a whole model's states are asked so often whether there is one of one step, */
export const EXPORT_ASK_MS = 2000;
/** and for so long: a look for hosts, and a step of a large model. */
export const EXPORT_SEARCH_MS_MAX = 90_000;
/** When all known hosts of a stage have refused, others that may come are waited for so long. */
export const EXPORT_REFUSED_MS = 10_000;

/** Pieces that a joining host has asked for and not got. */
export const PIECES_IN_FLIGHT_MAX = 4;

/** Floats in one message of the all-reduce: 4 MiB, so that control frames pass between. */
export const AVERAGE_CHUNK_FLOATS = 1024 * 1024;

/** One value in the DHT: a signed announcement with a handful of addresses. */
export const DHT_VALUE_BYTES_MAX = 16 * 1024;

/** DHT keys whose best value a node remembers, so that an older one cannot replace it. */
export const DHT_RECORDS_MAX = 4096;

/** Floats of an all-reduce that came before this replica was asked to take part: 256 MiB. */
export const EARLY_FLOATS_MAX = 64 * 1024 * 1024;

/** Peers that a coordinator knows. A stranger's hello above it is not answered. */
export const MEMBERS_MAX = 16_384;

/** Addresses that are kept of one peer: it may have several networks, not a flood of them. */
export const PEER_ADDRESSES_MAX = 8;

/** Peers whose addresses a wire remembers for its next dial. */
export const WIRE_ADDRESSED_PEERS_MAX = 4096;

/** Keys that one peer provides at once: it holds one stage, and may be moving to another. */
export const PROVIDED_KEYS_MAX = 16;

/** Providers that one search collects. */
export const PROVIDERS_FOUND_MAX = 256;

/** Frames that a wire is half through receiving, together. Whoever comes beyond is paused. */
export const RECEIVE_BYTES_MAX = 1024 * 1024 * 1024;

/** A frame below this is received without asking for room: 512 peers hold no more than half a gigabyte so. */
export const RECEIVE_SMALL_BYTES_MAX = 1024 * 1024;

/** Time for one large frame to arrive, once it has room: 256 MB over a slow uplink. */
export const FRAME_ARRIVAL_MS_MAX = 300_000;

/** Peers that one relay is asked to carry for; each keeps one connection open. */
export const RELAY_RESERVATIONS_MAX = 128;

/** Relayed connections between a relay and one peer, each way: a host meets the neighbours of two stages and the trainers. */
export const RELAY_STREAMS_MAX = 256;

/** Bytes that a relay carries for one connection before it cuts it: hours of small micro-batches, not a training run for free. */
export const RELAY_BYTES_MAX = 8 * 1024 * 1024 * 1024;

/** Time for which it does. The link is made anew then, directly if by now that works. */
export const RELAY_MS_MAX = 2 * 60 * 60 * 1000;

/** Bytes that a relay holds of one direction of one connection. Above it the sender is paused. */
export const RELAY_HELD_BYTES_MAX = 1024 * 1024;

/** Relays that one peer is reached through at once. */
export const RELAYS_MAX = 3;

/** A swarm key's file has 95 bytes; this leaves room for another's line ends. */
export const SWARM_KEY_FILE_BYTES_MAX = 1024;

/**
 * When a stage has lost its last host and the run could go back to snapshots, it
 * waits this long for one that still holds the present state: it may only have been cut off.
 */
export const REVIVAL_WAIT_MS = 30_000;

/** What a host may say that one micro-batch takes it: above it a machine is of no use to anybody. */
export const SECONDS_PER_MICRO_BATCH_MAX = 1e6;

/** Seconds of waiting work that a host announces at most. */
export const LOAD_SECONDS_MAX = 1e6;

/** Of all hosts, how many may be sent to other stages at once: the others carry the run meanwhile, and vouch for it. */
export const MOVED_SHARE_MAX = 1 / 4;

/** Sessions that one host keeps. Their tokens are bounded by its cache; this bounds what is noted of them. */
export const SESSIONS_MAX = 4096;

/** Biases for single tokens that all sessions of a host have together: some 20 MB. */
export const SESSION_BIASES_MAX = 262_144;

/** Sessions in one frame: more than a host decodes at once. */
export const SESSION_PARTS_MAX = 64;

/** Sessions whose next token is computed in one run: beyond it a run of small models takes longer in proportion. */
export const DECODE_BATCH_MAX = 32;

/** Tokens of a prompt that are computed in one run; decode runs come between: others wait no longer than that. */
export const PREFILL_CHUNK_TOKENS = 256;

/** A host forgets a session that nobody has continued for so long: its home has gone without a word. */
export const SESSION_LEASE_MS = 120_000;

/** When there is no room, sessions that rest for longer than that make some: their home can restore them. */
export const SESSION_IDLE_MS = 10_000;

/** Texts that one home has under way. More than the hosts that one peer can speak with decode at once. */
export const HOME_TEXTS_MAX = 1024;
/** And those that wait for a path, beyond them. */
export const HOME_WAITING_MAX = 1024;

/** A text waits so long for hosts of every stage to be found: a look through a slow network, and some. */
export const HOSTS_WAIT_MS_MAX = 15_000;
/** And so long for room, before its owner is told to come again. */
export const ROOM_WAIT_MS_MAX = 5_000;

/** A token that has not come after this, or after so many times what is usual, is waited for no more. */
export const TOKEN_TIMEOUT_MS_MIN = 5_000;
export const TOKEN_TIMEOUT_FACTOR = 10;
/** Whatever hosts say that they take: nobody who asks through a gateway waits longer than ten minutes. */
export const TOKEN_TIMEOUT_MS_MAX = 600_000;

/** Paths that are tried for one token after the first has failed, at least, and for {@link HOSTS_WAIT_MS_MAX}. */
export const PATH_ATTEMPTS_MIN = 5;

/** A host without room tells a session to come again after so long: most texts are over in that time, or rest. */
export const SESSION_RETRY_MS = 1000;

/** What still travels of a session that is over arrives within so long, or can be taken for another. */
export const SESSION_ENDED_MS = 30_000;

/** Hidden states of any model are far below; the square of it, summed over any width, is far below what f32 holds. */
export const HIDDEN_MAGNITUDE_MAX = 1e8;

/** Homes ask hosts that they may choose how far they are, so often. */
export const PROBE_PERIOD_MS = 15_000;

/** A host that no trainer has asked for anything for so long serves sessions by itself. */
export const STANDALONE_MS = 5_000;

/** A host that stands alone, and shares its stage, looks about so often whether another stage has nobody. */
export const STANDALONE_LOOK_MS = 30_000;

/** Characters of what settlers tell each other of one step's work: a sheet of 256 micro-batches takes 90,000. */
export const SHEET_CHARACTERS_MAX = 160_000;

/** Steps of whose walks a settler remembers what passed: neighbours ask about one that was just taken, but may be slow. */
export const WORK_STEPS_KEPT = 64;

/** Walks that it remembers in all. */
export const WORK_NOTES_MAX = 4 * MICRO_BATCHES_MAX;

/** A neighbour that has not seen the end of a walk yet is given so long before it says what it has seen. */
export const VOUCH_WAIT_MS = 1_000;

/** A sheet that a neighbour has not answered for by then goes without its word. */
export const VOUCH_LIMIT_MS = 5_000;

/** A sheet that its trainer has not noted is sent again, so often. */
export const SHEET_RESEND_MS = 10_000;

/** Sheets that a host keeps until an epoch has counted them: hours of steps. */
export const SHEETS_KEPT_MAX = 8_192;

/** Sheets that a trainer collects for one epoch. */
export const SHEETS_COLLECTED_MAX = 65_536;

/** What is missing of a step's work by then is not waited for. */
export const WORK_GRACE_MS = 10_000;

/** How often a settler looks at the ledger. */
export const SETTLE_PERIOD_MS = 2_000;

/** How often a host claims by itself; `deno task earnings --withdraw` does it at once. */
export const CLAIM_PERIOD_MS = 600_000;

/** Bytes of an epoch's document: one frame. */
export const EPOCH_BYTES_MAX = 64 * 1024 * 1024;

/** How long a trainer that has taken its last step waits for its last epoch to become final. */
export const SETTLE_WAIT_MS_MAX = 30_000;

/** Tokens that a host computes for a home before it is paid: what it can bear to lose. */
export const CREDIT_TOKENS = 128;

/** Homes whose accounts a host keeps, and hosts whose prices a home remembers. */
export const PAYING_HOMES_MAX = 4_096;

/** Lanes that a host looks at on the chain at once, for vouchers of homes that it does not know. */
export const LANE_LOOKUPS_MAX = 16;

/** How often a host redeems what is worth it, or ends soon. */
export const REDEEM_PERIOD_MS = 60_000;

/** Bytes of a voucher as text. */
export const VOUCHER_BYTES_MAX = 1_024;

/** How long a home may take to fill a lane and sign for it before what it pays for is sent. */
export const PAYMENT_MS_MAX = 30_000;
