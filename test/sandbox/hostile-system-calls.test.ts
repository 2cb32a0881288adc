import { importing, moduleText, startText } from "./harness.ts";
import { exits, suite } from "./hostile-suite.ts";

const bigMemory = `(memory (export "memory") 1023)`;
// System calls.
const exitWith = (call: string): string => `(call $proc_exit ${call})`;
const sleepFor = (nanoseconds: string): string => `
  (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const ${nanoseconds}))
  (drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))`;
suite([
  [
    "exit caught, then an endless loop",
    startText(
      "(block $h (try_table (catch_all $h) (call $proc_exit (i32.const 3)))) (loop $l (br $l))",
      importing("proc_exit"),
    ),
    exits(3),
  ],
  [
    "exit caught, then output",
    startText(
      `(block $h (try_table (catch_all $h) (call $proc_exit (i32.const 3))))
       (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 5))
       (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))`,
      importing("proc_exit", "fd_write"),
    ),
    exits(3),
  ],
  [
    "exit in the start function",
    moduleText(
      `(func $s (call $proc_exit (i32.const 9))) (start $s) (func (export "_start") (unreachable))`,
      importing("proc_exit"),
    ),
    exits(9),
  ],
  ["exit code 257", startText(exitWith("(i32.const 257)"), importing("proc_exit")), exits(257)],
  ["exit code 0", startText(exitWith("(i32.const 0)"), importing("proc_exit")), "ok"],
  [
    "fd_write of 2^32-1 buffers",
    startText(
      exitWith("(call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8))"),
      importing("fd_write", "proc_exit"),
    ),
    exits(28),
  ],
  [
    "fd_write of a buffer of 4 GiB",
    startText(
      `(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const -1))
       ${exitWith("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))")}`,
      importing("fd_write", "proc_exit"),
    ),
    exits(21),
  ],
  [
    "fd_write of the whole memory 1024 times",
    startText(
      `(local i32) (loop $l
         (i32.store (i32.add (i32.const 65536) (i32.mul (local.get 0) (i32.const 8))) (i32.const 0))
         (i32.store offset=4 (i32.add (i32.const 65536) (i32.mul (local.get 0) (i32.const 8))) (i32.const 0x3ff0000))
         (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1024))))
       ${exitWith("(call $fd_write (i32.const 1) (i32.const 65536) (i32.const 1024) (i32.const 8))")}`,
      importing("fd_write", "proc_exit"),
      bigMemory,
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "output without end",
    startText(
      `(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1000))
       (loop $l (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $l))`,
      importing("fd_write"),
    ),
    "TOOL_OUTPUT_TOO_LARGE",
  ],
  [
    "empty writes without end",
    startText(
      "(loop $l (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 8))) (br $l))",
      importing("fd_write"),
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "fd_write with its count out of bounds",
    startText(
      exitWith("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const -2))"),
      importing("fd_write", "proc_exit"),
    ),
    exits(21),
  ],
  [
    "no directories and no files",
    startText(
      `(if (i32.ne (call $fd_prestat_get (i32.const 3) (i32.const 0)) (i32.const 8)) (then (unreachable)))
       ${exitWith(`(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0)
         (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 64))`)}`,
      importing("path_open", "proc_exit", "fd_prestat_get"),
    ),
    exits(76),
  ],
  [
    "no sockets",
    startText(
      exitWith(
        "(call $sock_send (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
      ),
      importing("sock_send", "proc_exit"),
    ),
    exits(58),
  ],
  [
    "random_get of 4 GiB",
    startText(
      exitWith("(call $random_get (i32.const 0) (i32.const -1))"),
      importing("random_get", "proc_exit"),
    ),
    exits(21),
  ],
  [
    "random_get of 2 MiB",
    startText(
      exitWith("(call $random_get (i32.const 0) (i32.const 0x200000))"),
      importing("random_get", "proc_exit"),
      `(memory (export "memory") 64)`,
    ),
    exits(28),
  ],
  [
    "random bytes without end",
    startText(
      "(loop $l (drop (call $random_get (i32.const 0) (i32.const 65536))) (br $l))",
      importing("random_get"),
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "sleep of an hour",
    startText(sleepFor("3600000000000"), importing("poll_oneoff")),
    "TOOL_TIMEOUT",
    { timeoutMs: 100 },
  ],
  [
    "sleep of 2^64-1 ns",
    startText(sleepFor("-1"), importing("poll_oneoff")),
    "TOOL_TIMEOUT",
    { timeoutMs: 100 },
  ],
  [
    "sleeps of nothing without end",
    startText(
      `(i32.store (i32.const 16) (i32.const 1)) (loop $l
         (drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512))) (br $l))`,
      importing("poll_oneoff"),
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "poll_oneoff of 2^31 events",
    startText(
      exitWith(
        "(call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 0x80000000) (i32.const 512))",
      ),
      importing("poll_oneoff", "proc_exit"),
    ),
    exits(28),
  ],
  [
    "sched_yield without end",
    startText("(loop $l (drop (call $sched_yield)) (br $l))", importing("sched_yield")),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "waiting for the clock",
    startText(
      `(loop $l (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
         (br_if $l (i64.lt_u (i64.load (i32.const 0)) (i64.const 3600000000000))))`,
      importing("clock_time_get"),
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "system calls past the time limit",
    startText("(loop $l (drop (call $sched_yield)) (br $l))", importing("sched_yield")),
    "TOOL_TIMEOUT",
    { fuel: 1e11, timeoutMs: 100 },
  ],
  [
    "clock 99",
    startText(
      exitWith("(call $clock_time_get (i32.const 99) (i64.const 0) (i32.const 0))"),
      importing("clock_time_get", "proc_exit"),
    ),
    exits(28),
  ],
  [
    "args_get out of bounds",
    startText(
      exitWith("(call $args_get (i32.const 65534) (i32.const 0))"),
      importing("args_get", "proc_exit"),
    ),
    exits(21),
  ],
  [
    "stdin read past its end",
    startText(
      `(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 64))
       (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
       (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 12)))
       ${exitWith("(i32.add (i32.mul (i32.const 10) (i32.load (i32.const 8))) (i32.load (i32.const 12)))")}`,
      importing("fd_read", "proc_exit"),
    ),
    exits(20),
  ],
  [
    "stdout closed, then written",
    startText(
      `(drop (call $fd_close (i32.const 1)))
       ${exitWith("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 8))")}`,
      importing("fd_close", "fd_write", "proc_exit"),
    ),
    exits(8),
  ],
]);
