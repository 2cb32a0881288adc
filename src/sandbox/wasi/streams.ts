import { errno } from "./errno.ts";
import { type Guest, charge, putU32, region, view, write } from "./guest.ts";

/** As IOV_MAX of common systems. */
const vectorsMax = 1024;
const bytesPerFuel = 4;

const rightRead = 0x2n;
const rightWrite = 0x40n;
const rightPoll = 0x800_0000n;

/** The file's number where it is open, else -1; only 0, 1 and 2 exist. */
export const openFd = (guest: Guest, fd: number): 0 | 1 | 2 | -1 => {
  if (fd !== 0 && fd !== 1 && fd !== 2) return -1;
  return guest.isOpen[fd] ? fd : -1;
};

type Vectors = { readonly parts: readonly Uint8Array[]; readonly total: number };

const vectors = (guest: Guest, at: number, count: number): Vectors => {
  const list = view(guest, at, count * 8);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let i = 0; i < count; i++) {
    const part = region(guest, list.getUint32(i * 8, true), list.getUint32(i * 8 + 4, true));
    parts.push(part);
    total += part.length;
  }
  return { parts, total };
};

/** Four numbers, as the interface has them: a file, where its buffers are listed, how many, where the count goes. */
type StreamCall = readonly [fd: number, at: number, count: number, resultAt: number];

export const fdWrite = (guest: Guest, [fd, at, count, resultAt]: StreamCall): number => {
  const open = openFd(guest, fd);
  if (open !== 1 && open !== 2) return errno.badFile;
  if (count >>> 0 > vectorsMax) return errno.invalid;
  const { parts, total } = vectors(guest, at, count);
  putU32(guest, resultAt, 0);
  // Before the copy; a total of many overlapping buffers may be above 32 bits.
  charge(guest, Math.ceil(total / bytesPerFuel));
  for (const part of parts) write(guest, open === 1 ? guest.stdout : guest.stderr, part);
  putU32(guest, resultAt, total);
  return errno.success;
};

export const fdRead = (guest: Guest, [fd, at, count, resultAt]: StreamCall): number => {
  if (openFd(guest, fd) !== 0) return errno.badFile;
  if (count >>> 0 > vectorsMax) return errno.invalid;
  const { parts, total } = vectors(guest, at, count);
  putU32(guest, resultAt, 0);
  const from = guest.stdinAt;
  charge(guest, Math.ceil(Math.min(total, guest.stdin.length - from) / bytesPerFuel));
  for (const part of parts) {
    const piece = guest.stdin.subarray(guest.stdinAt, guest.stdinAt + part.length);
    part.set(piece);
    guest.stdinAt += piece.length;
  }
  putU32(guest, resultAt, guest.stdinAt - from);
  return errno.success;
};

/** Of unknown type, neither terminal nor file: C libraries then buffer whole blocks. */
export const fdStat = (guest: Guest, fd: number, at: number): number => {
  const open = openFd(guest, fd);
  if (open < 0) return errno.badFile;
  const stat = view(guest, at, 24);
  stat.setUint16(0, 0, true);
  stat.setUint16(2, open === 0 ? 0 : 1, true); // append
  stat.setUint32(4, 0, true);
  stat.setBigUint64(8, rightPoll | (open === 0 ? rightRead : rightWrite), true);
  stat.setBigUint64(16, 0n, true);
  return errno.success;
};

export const fileStat = (guest: Guest, fd: number, at: number): number => {
  if (openFd(guest, fd) < 0) return errno.badFile;
  region(guest, at, 64).fill(0);
  return errno.success;
};

export const close = (guest: Guest, fd: number): number => {
  const open = openFd(guest, fd);
  if (open === -1) return errno.badFile;
  guest.isOpen[open] = false;
  return errno.success;
};
