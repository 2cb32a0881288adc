import { errno } from "./errno.ts";
import { type Guest, charge, putU32, putU64, region, stop, view } from "./guest.ts";

const subscriptionsMax = 256;
const subscriptionBytes = 48;
const eventBytes = 32;
const chargePerSubscription = 50;

const clockRealtime = 0;
const clockIdMax = 3; // monotonic, and the two of CPU time, which here are monotonic too

/** Nanoseconds of a clock; null: there is none of that number. */
const clockNs = (guest: Guest, id: number): bigint | null => {
  if (id >>> 0 === clockRealtime) return BigInt(Date.now()) * 1_000_000n;
  if (id >>> 0 > clockIdMax) return null;
  return BigInt(Math.round((performance.now() - guest.startedAtMs) * 1e6));
};

export const clockResolution = (guest: Guest, id: number, at: number): number => {
  if (id >>> 0 > clockIdMax) return errno.invalid;
  putU64(guest, at, id === clockRealtime ? 1_000_000n : 1_000n);
  return errno.success;
};

export const clockTime = (guest: Guest, id: number, at: number): number => {
  const now = clockNs(guest, id);
  if (now === null) return errno.invalid;
  putU64(guest, at, now);
  return errno.success;
};

const cell = new Int32Array(new SharedArrayBuffer(4));
const waitMsMax = 2 ** 31;

/** Sleeps without using the CPU, at most until the run's time is over. */
const sleep = (guest: Guest, ns: bigint): void => {
  const ms = Number(ns) / 1e6;
  if (ms <= 0) return;
  const leftMs = Math.max(0, guest.deadlineMs - performance.now());
  Atomics.wait(cell, 0, 0, Math.min(ms, leftMs, waitMsMax));
  if (ms > leftMs) stop(guest, { kind: "timeout" });
};

type Subscription = {
  readonly userData: bigint;
  readonly type: number;
  readonly error: number;
  readonly bytes: bigint;
  /** Until when to wait; null: ready now. */
  readonly waitNs: bigint | null;
};

const typeClock = 0;
const typeRead = 1;
const typeWrite = 2;
const flagAbsolute = 1;
const writableBytes = 65_536n;

const readClock = (guest: Guest, entry: DataView, userData: bigint): Subscription => {
  const now = clockNs(guest, entry.getUint32(16, true));
  const asked = entry.getBigUint64(24, true);
  const isAbsolute = (entry.getUint16(40, true) & flagAbsolute) !== 0;
  const base = { userData, type: typeClock, bytes: 0n };
  if (now === null) return { ...base, error: errno.invalid, waitNs: null };
  const waitNs = isAbsolute ? (asked > now ? asked - now : 0n) : asked;
  return { ...base, error: errno.success, waitNs };
};

const readStream = (guest: Guest, entry: DataView, userData: bigint): Subscription => {
  const type = entry.getUint8(8);
  const fd = entry.getUint32(16, true);
  const isRight = type === typeRead ? fd === 0 : fd === 1 || fd === 2;
  const error = isRight && guest.isOpen[fd] === true ? errno.success : errno.badFile;
  const left = BigInt(guest.stdin.length - guest.stdinAt);
  const bytes = error !== errno.success ? 0n : type === typeRead ? left : writableBytes;
  return { userData, type, error, bytes, waitNs: null };
};

const putEvent = (entry: DataView, from: Subscription): void => {
  entry.setBigUint64(0, from.userData, true);
  entry.setUint16(8, from.error, true);
  entry.setUint8(10, from.type);
  entry.setBigUint64(16, from.bytes, true);
  entry.setUint16(24, 0, true);
};

const readSubscriptions = (guest: Guest, at: number, count: number): Subscription[] | null => {
  const all: Subscription[] = [];
  for (let i = 0; i < count; i++) {
    const entry = view(guest, at + i * subscriptionBytes, subscriptionBytes);
    const userData = entry.getBigUint64(0, true);
    const type = entry.getUint8(8);
    if (type > typeWrite) return null;
    all.push(
      type === typeClock ? readClock(guest, entry, userData) : readStream(guest, entry, userData),
    );
  }
  return all;
};

/** Waits for the first of some events: streams are always ready, so a wait is a sleep. */
export const poll = (guest: Guest, args: readonly number[]): number => {
  const [at = 0, eventsAt = 0, count = 0, resultAt = 0] = args;
  const n = count >>> 0;
  if (n === 0 || n > subscriptionsMax) return errno.invalid;
  region(guest, eventsAt, n * eventBytes);
  putU32(guest, resultAt, 0);
  charge(guest, n * chargePerSubscription);
  const all = readSubscriptions(guest, at, n);
  if (all === null) return errno.invalid;
  let untilNs: bigint | null = null;
  for (const { waitNs } of all) {
    const ns = waitNs ?? 0n;
    if (untilNs === null || ns < untilNs) untilNs = ns;
  }
  const until = untilNs ?? 0n;
  sleep(guest, until);
  const ready = all.filter(({ waitNs }) => (waitNs ?? 0n) <= until);
  for (const [i, one] of ready.entries()) {
    putEvent(view(guest, eventsAt + i * eventBytes, eventBytes), one);
  }
  putU32(guest, resultAt, ready.length);
  return errno.success;
};
