/** One run of a tool, as the host functions see it. */
export type Guest = {
  /** Set once the module is instantiated. */
  exports: GuestExports | null;
  readonly args: readonly Uint8Array[];
  readonly stdin: Uint8Array;
  stdinAt: number;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly isOpen: [boolean, boolean, boolean];
  /** On the clock of performance.now. */
  readonly startedAtMs: number;
  readonly deadlineMs: number;
  /** Why the run was ended from the host's side; the guest may still run until its next check. */
  ending: Ending | null;
  /** The counter at that moment. */
  fuelAtEnding: bigint;
};

export type GuestExports = {
  readonly memory: WebAssembly.Memory;
  readonly fuelGet: () => bigint;
  readonly fuelSet: (fuel: bigint) => void;
};

export type Ending =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "fuel" }
  | { readonly kind: "timeout" }
  | { readonly kind: "output" }
  | { readonly kind: "stack" }
  | { readonly kind: "host"; readonly message: string };

/** Written bytes: past `bytesMax` either an end of the run or, with `keepsLast`, the loss of the oldest. */
export type Sink = {
  readonly bytesMax: number;
  readonly keepsLast: boolean;
  bytes: Uint8Array<ArrayBuffer>;
  length: number;
};

export const openSink = (bytesMax: number, keepsLast: boolean): Sink => ({
  bytesMax,
  keepsLast,
  bytes: new Uint8Array(Math.min(bytesMax, 4096)),
  length: 0,
});

export const written = (sink: Sink): Uint8Array<ArrayBuffer> => sink.bytes.subarray(0, sink.length);

/** A fixed error: to make one for each bad pointer would cost more than the call is charged. */
const fault = new Error("a pointer is outside of the memory");

export const isFault = (error: unknown): boolean => error === fault;

/** Thrown through the guest when the host has ended the run; a guest that catches it stops at its next check. */
const stopped = new Error("the run was ended");

/** Far below zero, so that no charge brings it back. */
const noFuel = -(2n ** 62n);

/** Ends the run: notes why, takes all fuel and unwinds the guest. The first ending counts. */
export const stop = (guest: Guest, ending: Ending): never => {
  if (guest.ending === null) {
    guest.ending = ending;
    guest.fuelAtEnding = guest.exports?.fuelGet() ?? 0n;
  }
  guest.exports?.fuelSet(noFuel);
  throw stopped;
};

export const charge = (guest: Guest, fuel: number): void => {
  if (guest.exports === null) throw new Error("a host function ran before its instance");
  const left = guest.exports.fuelGet() - BigInt(fuel);
  guest.exports.fuelSet(left);
  if (left < 0n) stop(guest, { kind: "fuel" });
};

const bufferOf = (guest: Guest): ArrayBufferLike => {
  if (guest.exports === null) throw new Error("a host function ran before its instance");
  return guest.exports.memory.buffer;
};

/** The guest's bytes at..at+length. Pointers are i32: what is negative here is above 2 GiB there. */
export const region = (guest: Guest, at: number, length: number): Uint8Array => {
  const buffer = bufferOf(guest);
  const from = at >>> 0;
  const count = length >>> 0;
  if (from + count > buffer.byteLength) throw fault;
  return new Uint8Array(buffer, from, count);
};

export const view = (guest: Guest, at: number, length: number): DataView => {
  const bytes = region(guest, at, length);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};

export const putU32 = (guest: Guest, at: number, value: number): void =>
  view(guest, at, 4).setUint32(0, value, true);

export const putU64 = (guest: Guest, at: number, value: bigint): void =>
  view(guest, at, 8).setBigUint64(0, value, true);

const grow = (sink: Sink, need: number): void => {
  if (need <= sink.bytes.length) return;
  const bytes = new Uint8Array(Math.min(sink.bytesMax, Math.max(need, sink.bytes.length * 2)));
  bytes.set(written(sink));
  sink.bytes = bytes;
};

const keepLast = (sink: Sink, added: Uint8Array): void => {
  const tail = added.subarray(Math.max(0, added.length - sink.bytesMax));
  const dropped = Math.max(0, sink.length + tail.length - sink.bytesMax);
  grow(sink, sink.length - dropped + tail.length);
  sink.bytes.copyWithin(0, dropped, sink.length);
  sink.bytes.set(tail, sink.length - dropped);
  sink.length += tail.length - dropped;
};

/** Adds to a sink; ends the run where it is full. */
export const write = (guest: Guest, sink: Sink, added: Uint8Array): void => {
  if (sink.keepsLast) return keepLast(sink, added);
  if (sink.length + added.length > sink.bytesMax) stop(guest, { kind: "output" });
  grow(sink, sink.length + added.length);
  sink.bytes.set(added, sink.length);
  sink.length += added.length;
};
