/**
 * Network devices whose other end is this process: what the kernel sends to one
 * is read here, what is written here the kernel receives from it. Linux, with
 * the right to administer the network. A device goes when its process does.
 *
 * It calls the C library, because nothing of Deno's opens a device that must be
 * told its kind first.
 */

const LIBRARY = "libc.so.6";
const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const;

/** From <fcntl.h>, <poll.h> and <linux/if_tun.h>; the same wherever Deno runs on Linux. */
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const POLLIN = 1;
const TUNSETIFF = 0x400454ca;
const IFF_TUN_NO_PI = 0x1001;
/** struct ifreq: 16 bytes of name, then flags, then room. */
const REQUEST_BYTES = 40;
const NAME_BYTES = 16;
/** struct pollfd: a descriptor, what is asked, what is found. */
const POLL_BYTES = 8;

/** Above every packet of these devices, whose packets are those of Ethernet. */
const PACKET_BYTES_MAX = 2048;

/** Standard input, of which {@link Tunnels.wait} tells as well. */
const INPUT = 0;

/** Some devices of this process. */
export class Tunnels implements Disposable {
  readonly #library = Deno.dlopen(LIBRARY, SYMBOLS);
  readonly #descriptors: number[] = [];
  readonly #polled: DataView<ArrayBuffer>;
  readonly #packet = new Uint8Array(PACKET_BYTES_MAX);
  /** The kernel's names of the devices. */
  readonly names: readonly string[];

  /** @throws {Error} where the kernel has no such devices, or we may not have one. */
  constructor(count: number) {
    this.names = Array.from({ length: count }, () => this.#open());
    this.#polled = new DataView(new ArrayBuffer(POLL_BYTES * (count + 1)));
    [INPUT, ...this.#descriptors].forEach((descriptor, index) => {
      this.#polled.setInt32(POLL_BYTES * index, descriptor, true);
      this.#polled.setInt16(POLL_BYTES * index + 4, POLLIN, true);
    });
  }

  /** Blocks until a device or standard input has something, or the time is over. @returns whether the latter has. */
  wait(limitMs: number): boolean {
    const view = this.#polled;
    this.#library.symbols.poll(view.buffer, BigInt(view.byteLength / POLL_BYTES), limitMs);
    return view.getInt16(6, true) !== 0;
  }

  /** What standard input has; empty when it has ended. To be called when {@link Tunnels.wait} says so. */
  input(): Uint8Array {
    const length = this.#library.symbols.read(INPUT, this.#packet, BigInt(PACKET_BYTES_MAX));
    return this.#packet.slice(0, Math.max(0, Number(length)));
  }

  /** The next packet that the kernel has sent to a device. */
  read(device: number): Uint8Array | undefined {
    const length = this.#library.symbols.read(
      this.#descriptors[device]!,
      this.#packet,
      BigInt(PACKET_BYTES_MAX),
    );
    return length > 0 ? this.#packet.slice(0, Number(length)) : undefined;
  }

  /** Lets the kernel receive a packet. One that it has no room for is lost, as on every network. */
  write(device: number, packet: Uint8Array): void {
    this.#library.symbols.write(this.#descriptors[device]!, packet as BufferSource, BigInt(packet.length));
  }

  [Symbol.dispose](): void {
    this.#library.close();
  }

  #open(): string {
    const { open, ioctl } = this.#library.symbols;
    const descriptor = open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR | O_NONBLOCK);
    if (descriptor < 0) throw new Error("Cannot make a network device: /dev/net/tun does not open");
    const request = new Uint8Array(REQUEST_BYTES);
    // The kernel puts a number in.
    new TextEncoder().encodeInto("murmur%d", request);
    new DataView(request.buffer).setInt16(NAME_BYTES, IFF_TUN_NO_PI, true);
    if (ioctl(descriptor, BigInt(TUNSETIFF), request) < 0) {
      throw new Error("Cannot make a network device: the kernel refuses, and only root may ask");
    }
    this.#descriptors.push(descriptor);
    return new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
  }
}
