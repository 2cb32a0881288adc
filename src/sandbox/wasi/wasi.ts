/**
 * WASI preview 1 for a tool: arguments, standard streams, clocks, random bytes, sleeping and exit; no files, no network,
 * no environment. All functions of the interface exist, so that any compiler's output links.
 *
 * 1. Each call, and each byte that it moves, is charged to the tool's fuel before the work is done.
 * 2. Each pointer is held against the memory as it is at that moment; counts and lengths are bounded.
 * 3. Nothing waits past the deadline; each call after it ends the run.
 * 4. Once the run has ended, no call does anything: the guest may have caught the exception that unwinds it.
 */
import { preview1Names } from "../preview1.ts";
import { errno } from "./errno.ts";
import { type Guest, charge, isFault, putU32, region, stop, view } from "./guest.ts";
import { close, fdRead, fdStat, fdWrite, fileStat, openFd } from "./streams.ts";
import { clockResolution, clockTime, poll } from "./time.ts";

const chargePerCall = 100;
const bytesPerFuel = 4;
const randomBytesMax = 1 << 20;
/** What crypto.getRandomValues gives at once. */
const randomPieceBytes = 65_536;

/** Numbers of 64 bits come as bigint; no function here has a use for one. */
type Arguments = readonly (number | bigint)[];
type HostFunction = (guest: Guest, args: readonly number[]) => number;

/** Strings end with a zero byte; they are counted in bytes. */
const listBytes = (list: readonly Uint8Array[]): number =>
  list.reduce((sum, item) => sum + item.length + 1, 0);

const putSizes = (guest: Guest, list: readonly Uint8Array[], to: readonly number[]): number => {
  const [countAt = 0, bytesAt = 0] = to;
  putU32(guest, countAt, list.length);
  putU32(guest, bytesAt, listBytes(list));
  return errno.success;
};

const putList = (guest: Guest, list: readonly Uint8Array[], to: readonly number[]): number => {
  const [pointersAt = 0, bytesAt = 0] = to;
  const total = listBytes(list);
  charge(guest, Math.ceil(total / bytesPerFuel));
  const pointers = view(guest, pointersAt, list.length * 4);
  const bytes = region(guest, bytesAt, total);
  let at = 0;
  for (const [i, item] of list.entries()) {
    pointers.setUint32(i * 4, (bytesAt >>> 0) + at, true);
    bytes.set(item, at);
    bytes[at + item.length] = 0;
    at += item.length + 1;
  }
  return errno.success;
};

const randomGet = (guest: Guest, at: number, count: number): number => {
  const bytes = region(guest, at, count);
  if (bytes.length > randomBytesMax) return errno.invalid;
  charge(guest, bytes.length);
  for (let i = 0; i < bytes.length; i += randomPieceBytes) {
    crypto.getRandomValues(bytes.subarray(i, i + randomPieceBytes));
  }
  return errno.success;
};

const ofOpenFile =
  (result: number): HostFunction =>
  (guest, [fd = -1]) =>
    openFd(guest, fd) < 0 ? errno.badFile : result;

const noList: readonly Uint8Array[] = [];

const functions: Readonly<Record<string, HostFunction>> = {
  args_sizes_get: (guest, args) => putSizes(guest, guest.args, args),
  args_get: (guest, args) => putList(guest, guest.args, args),
  environ_sizes_get: (guest, args) => putSizes(guest, noList, args),
  environ_get: (guest, args) => putList(guest, noList, args),
  clock_res_get: (guest, [id = 0, at = 0]) => clockResolution(guest, id, at),
  clock_time_get: (guest, [id = 0, , at = 0]) => clockTime(guest, id, at),
  fd_write: (guest, [fd = 0, at = 0, count = 0, to = 0]) => fdWrite(guest, [fd, at, count, to]),
  fd_read: (guest, [fd = 0, at = 0, count = 0, to = 0]) => fdRead(guest, [fd, at, count, to]),
  fd_close: (guest, [fd = 0]) => close(guest, fd),
  fd_fdstat_get: (guest, [fd = 0, at = 0]) => fdStat(guest, fd, at),
  fd_filestat_get: (guest, [fd = 0, at = 0]) => fileStat(guest, fd, at),
  fd_fdstat_set_flags: ofOpenFile(errno.success),
  fd_sync: ofOpenFile(errno.success),
  fd_datasync: ofOpenFile(errno.success),
  fd_seek: ofOpenFile(errno.notSeekable),
  fd_tell: ofOpenFile(errno.notSeekable),
  // No directory is open: that is how runtimes find out that there are none.
  fd_prestat_get: () => errno.badFile,
  fd_prestat_dir_name: () => errno.badFile,
  random_get: (guest, [at = 0, count = 0]) => randomGet(guest, at, count),
  sched_yield: () => errno.success,
  proc_exit: (guest, [code = 0]) => stop(guest, { kind: "exit", code: code >>> 0 }),
  proc_raise: () => errno.noSystemCall,
  poll_oneoff: poll,
};

const absent = (name: string): HostFunction => {
  if (name.startsWith("path_")) return () => errno.notCapable;
  if (name.startsWith("sock_")) return () => errno.notSupported;
  return ofOpenFile(errno.notSupported);
};

const isStackOverflow = (error: unknown): boolean =>
  error instanceof RangeError && error.message.includes("call stack");

const hostFailure = (guest: Guest, name: string, error: unknown): never => {
  // Thrown by `stop`: the ending is noted.
  if (guest.ending !== null) throw error;
  if (isStackOverflow(error)) return stop(guest, { kind: "stack" });
  return stop(guest, { kind: "host", message: `${name}: ${String(error)}` });
};

const guarded = (guest: Guest, name: string, fn: HostFunction) => (args: Arguments) => {
  if (guest.ending !== null) return stop(guest, guest.ending);
  charge(guest, chargePerCall);
  if (performance.now() > guest.deadlineMs) return stop(guest, { kind: "timeout" });
  try {
    return fn(guest, args.map(Number));
  } catch (error) {
    return isFault(error) ? errno.fault : hostFailure(guest, name, error);
  }
};

/** The import object's functions, by name, for one run. */
export const wasiImports = (guest: Guest): Record<string, (...args: number[]) => number> => {
  const imports: Record<string, (...args: number[]) => number> = {};
  for (const name of preview1Names) {
    const call = guarded(guest, name, functions[name] ?? absent(name));
    imports[name] = (...args) => call(args);
  }
  return imports;
};
