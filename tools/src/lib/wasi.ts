// The few functions of WASI preview 1 that a tool needs: input on stdin, output on stdout, failure on stderr.

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(fd: i32, vectors: usize, count: i32, readAt: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: i32, vectors: usize, count: i32, writtenAt: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "clock_time_get")
declare function clock_time_get(id: i32, precision: u64, timeAt: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: i32): void;

const stdin = 0;
const stdout = 1;
const stderr = 2;
const pieceBytes = 65536;

// An iovec (address, length), and where counts and times are written.
const vector = memory.data(8);
const count = memory.data(4);
const time = memory.data(8);

function write(fd: i32, text: string): void {
  const bytes = String.UTF8.encode(text);
  let at = changetype<usize>(bytes);
  let left = <u32>bytes.byteLength;
  while (left > 0) {
    store<u32>(vector, <u32>at);
    store<u32>(vector, left, 4);
    if (fd_write(fd, vector, 1, count) != 0) proc_exit(2);
    const written = load<u32>(count);
    if (written == 0) proc_exit(2);
    at += written;
    left -= written;
  }
}

/** All of stdin: the tool's input. */
export function readInput(): string {
  let bytes = new Uint8Array(pieceBytes);
  let length = 0;
  while (true) {
    if (bytes.length - length < pieceBytes) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
    store<u32>(vector, <u32>(bytes.dataStart + length));
    store<u32>(vector, <u32>pieceBytes, 4);
    if (fd_read(stdin, vector, 1, count) != 0) break;
    const read = load<u32>(count);
    if (read == 0) break;
    length += read;
  }
  return String.UTF8.decodeUnsafe(bytes.dataStart, length);
}

/** The tool's output. */
export function print(text: string): void {
  write(stdout, text);
}

/** Ends the tool: the message goes to the model, which can call again. */
export function fail(message: string): void {
  write(stderr, message + "\n");
  proc_exit(1);
}

/** Wall time in nanoseconds since 1970. */
export function nowNs(): u64 {
  if (clock_time_get(0, 1000000, time) != 0) fail("there is no clock");
  return load<u64>(time);
}

/** What the compiler calls where the program is wrong. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message ? message : "aborted";
  const where = file ? file : "?";
  fail("internal error: " + what + " at " + where + ":" + line.toString() + ":" + column.toString());
}
