/**
 * Every bound of the runtime, with its reason. A queue without a number here
 * is a bug.
 */

/** Messages that wait for one actor. Above it the sender is told `false`. */
export const MAILBOX_MESSAGES_MAX = 1024;

/** CBOR header of a frame. The largest holds a step's micro-batch numbers and a member list. */
export const FRAME_HEADER_BYTES_MAX = 256 * 1024;

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
