import assert from "node:assert/strict";
import fc from "fast-check";
import { BufferPool, type BufferPoolOptions, type PooledBuffer } from "./buffers.ts";

/** A GPU of so many bytes that keeps count of them. */
class CountingGpu {
  bytes = 0;
  readonly #most: number;
  #refused = false;

  constructor(most = Infinity) {
    this.#most = most;
  }

  pushErrorScope(): void {
    this.#refused = false;
  }

  popErrorScope(): Promise<{ readonly message: string } | null> {
    return Promise.resolve(this.#refused ? { message: "out of memory" } : null);
  }

  createTexture({ size: { width, height } }: { readonly size: { width: number; height: number } }) {
    return { ...this.createBuffer({ size: 16 * width * height }), createView: () => "a view" };
  }

  createBuffer({ size }: { readonly size: number }): { destroy(): void } {
    this.#refused = this.bytes + size > this.#most;
    let live = !this.#refused;
    if (live) this.bytes += size;
    return {
      destroy: () => {
        if (live) this.bytes -= size;
        live = false;
      },
    };
  }
}

function poolOf(gpu: CountingGpu, options: Partial<BufferPoolOptions> = {}): BufferPool {
  return new BufferPool(gpu as unknown as GPUDevice, {
    device: "gpu",
    memoryMax: Infinity,
    spareBytesMax: Infinity,
    bufferBytesMax: Infinity,
    ...options,
  });
}

Deno.test("a buffer that was given back is the next of its size, and of its kind only", () => {
  const gpu = new CountingGpu();
  const pool = poolOf(gpu);
  const buffer = pool.take(100, "storage");
  assert.equal(buffer.bytes, 112);
  pool.give(buffer);
  assert.notEqual(pool.take(112, "readback"), buffer);
  assert.equal(pool.take(112, "storage"), buffer);
  assert.equal(gpu.bytes, 224);
});

Deno.test("images are of whole rows, and count as buffers do", () => {
  const gpu = new CountingGpu();
  const pool = poolOf(gpu, { memoryMax: 3 * 131_072 });
  const image = pool.takeImage(8193);
  assert.equal(image.bytes, 2 * 131_072);
  assert.equal(pool.bytes, image.bytes);
  assert.throws(() => pool.takeImage(8193), {
    name: "RangeError",
    message: "Cannot allocate 262144 bytes on gpu: 262144 of 393216 are in use",
  });
  pool.give(image);
  assert.notEqual(pool.take(image.bytes / 2, "storage") as unknown, image);
  assert.equal(pool.takeImage(9000), image);
  assert.equal(gpu.bytes, pool.bytes);
  pool.clear();
  assert.equal(gpu.bytes, 0);
});

Deno.test("whatever is taken and given back, the bounds hold and every byte is accounted for", () => {
  const calls = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 300 }), give: fc.nat(5) }), {
    maxLength: 60,
  });
  fc.assert(fc.property(calls, (calls) => {
    const gpu = new CountingGpu();
    const pool = poolOf(gpu, { memoryMax: 1000, spareBytesMax: 400 });
    const taken: PooledBuffer[] = [];
    for (const { bytes, give } of calls) {
      try {
        taken.push(pool.take(bytes, "storage"));
      } catch (error) {
        assert.ok(error instanceof RangeError);
        assert.equal(pool.spareBytes, 0, "refused, though there were spare buffers");
      }
      for (const buffer of taken.splice(0, give)) pool.give(buffer);
      const used = taken.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.equal(new Set(taken).size, taken.length, "one buffer is taken twice");
      assert.equal(pool.bytes, gpu.bytes);
      assert.equal(pool.bytes - pool.spareBytes, used);
      assert.ok(pool.bytes <= 1000 && pool.spareBytes <= 400);
    }
    pool.clear();
    assert.equal(gpu.bytes, 0);
  }));
});

Deno.test("who holds memory in reserve is asked for it before memory is refused", () => {
  const pool = poolOf(new CountingGpu(), { memoryMax: 160 });
  const reserve = pool.take(96, "storage");
  pool.onShortage = () => pool.give(reserve);
  assert.equal(pool.take(64, "storage").bytes, 64);
  assert.equal(pool.take(96, "storage"), reserve, "what fits is taken, not destroyed");
});

Deno.test("one buffer holds no more than the adapter allows", () => {
  const pool = poolOf(new CountingGpu(), { bufferBytesMax: 64 });
  assert.throws(() => pool.take(65, "storage"), {
    name: "RangeError",
    message: "Cannot allocate 80 bytes on gpu: one buffer holds at most 64",
  });
});

Deno.test("a GPU that is out of memory is found out before its buffers are used", async () => {
  const gpu = new CountingGpu(100);
  const pool = poolOf(gpu);
  const [first, second] = [pool.take(64, "storage"), pool.take(64, "storage")];
  await pool.settled();
  assert.equal(pool.settled(), undefined);
  pool.mustExist([first]);
  assert.throws(() => pool.mustExist([first, second]), {
    name: "RangeError",
    message: "Cannot allocate 64 bytes on gpu: the GPU is out of memory",
  });
  pool.give(second);
  assert.equal(pool.bytes, 64);
  assert.equal(pool.spareBytes, 0, "what is no buffer is not kept for the next");
});
