import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ToolErrorCode, ToolLimits } from "../../src/agent/event.ts";
import { type Harness, importing, moduleText, openHarness, startText } from "./harness.ts";
import { moduleBytes, nameBytes, rawModule, repeated, section, unsigned } from "./module-bytes.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
});
afterAll(() => harness.close());

/** What a call ends with: an error's code, or the output of one that succeeds. */
type Expected = ToolErrorCode | "ok" | { readonly code: ToolErrorCode; readonly message: RegExp };
type Case = readonly [
  title: string,
  module: string | Uint8Array,
  expected: Expected,
  limits?: Partial<ToolLimits>,
];

/** Enough for every loop here to be compiled at the highest tier; a second's worth would only take longer. */
const fuel = 20_000_000;

const exits = (code: number): Expected => ({
  code: "TOOL_EXITED",
  message: new RegExp(`exited with code ${code}$`),
});
const refused = (message: RegExp): Expected => ({ code: "TOOL_INVALID_MODULE", message });

const expectCase = async ([title, module, expected, limits]: Case): Promise<void> => {
  const name = title.replaceAll(/[^A-Za-z0-9]+/g, "_").slice(0, 60);
  await harness.put(name, module);
  const { error, fuelUsed } = await harness.run(name, "{}", { fuel, ...limits });
  const code = error?.code ?? "ok";
  expect(`${code} ${error?.message ?? ""}`).toStartWith(
    typeof expected === "string" ? expected : expected.code,
  );
  if (typeof expected === "object") expect(error?.message).toMatch(expected.message);
  if (code === "TOOL_OUT_OF_FUEL") expect(fuelUsed).toBe(limits?.fuel ?? fuel);
};

const suite = (cases: readonly Case[]): void => {
  for (const one of cases) test(one[0], () => expectCase(one));
};

const callTree = Array.from({ length: 60 }, (_, i) =>
  i === 0 ? "(func $d0)" : `(func $d${i} (call $d${i - 1}) (call $d${i - 1}))`,
).join("\n");
const store = "(i32.store (i32.const 0) (i32.const 1))";
const bump = "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))";
const bigMemory = `(memory (export "memory") 1023)`;

// Endless and costly work.
suite([
  ["infinite loop", startText("(loop $l (br $l))"), "TOOL_OUT_OF_FUEL"],
  ["loop by br_table", startText("(loop $l (br_table $l $l (i32.const 0)))"), "TOOL_OUT_OF_FUEL"],
  [
    "loop with a parameter and br_if",
    startText(
      "(i32.const 1) (loop $l (param i32) (result i32) (drop) (i32.const 1) (br_if $l (i32.const 1))) (drop)",
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "outer loop continued from an inner block",
    startText("(loop $a (block $b (loop $c (br_if $b (i32.const 1)) (br $c))) (br $a))"),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "inner loop that only continues its parent",
    startText("(loop $l1 (loop $l2 (loop $l3 (br $l2))))"),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "costly block that ends in a trap",
    startText(`${store.repeat(2000)} (drop (i32.div_u (i32.const 1) (i32.const 0)))`),
    "TOOL_OUT_OF_FUEL",
    { fuel: 1000 },
  ],
  [
    "code before an if is charged on both arms",
    moduleText(`(func $f (param i32) ${"(local.set 0 (local.get 0))".repeat(50)}
      (if (local.get 0) (then (nop)) (else (nop))))
      (func (export "_start") (local i32) (loop $l (call $f (i32.const 0))
        (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1000)))))`),
    "TOOL_OUT_OF_FUEL",
    { fuel: 90_000 },
  ],
  [
    "if of which only the then arm reaches the join",
    startText("(loop $l (block $x (if (i32.const 1) (then (nop)) (else (br $x))) (br $l)))"),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "way back from a catch clause only",
    moduleText(`(tag $e) (func (export "_start") (loop $l (try_table (catch_all $l) (throw $e))))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "tail call of itself",
    moduleText(`(func $f (export "_start") (return_call $f))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "mutual tail calls",
    moduleText(
      `(func $a (return_call $b)) (func $b (return_call $a)) (func (export "_start") (call $a))`,
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "tail call through a table",
    moduleText(`(type $v (func)) (table 1 funcref) (elem (i32.const 0) $f)
      (func $f (export "_start") (return_call_indirect (type $v) (i32.const 0)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "tree of 2^60 calls",
    moduleText(`${callTree} (func (export "_start") (call $d59))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "exponential calls through a table",
    moduleText(`(type $v (func (param i32))) (table 1 funcref) (elem (i32.const 0) $f)
      (func $f (param i32) (if (local.get 0) (then
        (call_indirect (type $v) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))
        (call_indirect (type $v) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))
      (func (export "_start") (call $f (i32.const 60)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "memory.fill in a loop",
    startText(
      "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x3ff0000)) (br $l))",
      "",
      bigMemory,
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "memory.copy in a loop",
    startText(
      "(loop $l (memory.copy (i32.const 0) (i32.const 0x1000000) (i32.const 0x1000000)) (br $l))",
      "",
      bigMemory,
    ),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "a straight line of 60000 memory.fill",
    moduleBytes([...repeated(60_000, [0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0]), 0x0b]),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "memory.init of nothing in a loop",
    moduleText(`(data $d "x") (func (export "_start") (data.drop $d)
      (loop $l (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)) (br $l)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "table.fill and table.copy in a loop",
    moduleText(`(table $t 90000 funcref) (func (export "_start")
      (loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 90000))
        (table.copy $t $t (i32.const 0) (i32.const 10) (i32.const 80000)) (br $l)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "table.init in a loop",
    moduleText(`(table $t 2000 funcref) (func $f) (elem $e func ${"$f ".repeat(2000)})
      (func (export "_start")
        (loop $l (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2000)) (br $l)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "endless start function",
    moduleText(`(func $s (loop $l (br $l))) (start $s) (func (export "_start"))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "catch_all around an endless loop",
    moduleText(`(func (export "_start")
      (loop $a (block $h (try_table (catch_all $h) (loop $l (br $l)))) (br $a)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "throw and catch in a loop",
    moduleText(`(tag $e) (func (export "_start")
      (loop $l (block $h (try_table (catch_all $h) (throw $e))) (br $l)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "throw across 5000 frames in a loop",
    moduleText(`(tag $e) (func $d (param i32) (if (i32.eqz (local.get 0)) (then (throw $e)))
        (call $d (i32.sub (local.get 0) (i32.const 1))))
      (func (export "_start")
        (loop $l (block $h (try_table (catch_all $h) (call $d (i32.const 5000)))) (br $l)))`),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "long code while a deep stack unwinds",
    moduleText(`(func $r (param i32)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1)))))
        (if (local.get 0) (then ${bump.repeat(600)})))
      (func (export "_start") (call $r (i32.const 6000)))`),
    "TOOL_OUT_OF_FUEL",
    { fuel: 100_000 },
  ],
  [
    "4900 nested loops",
    moduleBytes([
      ...repeated(4900, [3, 0x40]),
      0x0c,
      ...unsigned(4899),
      ...repeated(4900, [0x0b]),
      0x0b,
    ]),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "a body of 1.9 MB in a straight line",
    moduleBytes([...repeated(630_000, [0x41, 0, 0x1a]), 0x0b]),
    "ok",
  ],
  [
    "a body of 80000 ifs in a loop",
    moduleBytes(
      [
        ...[0x03, 0x40],
        ...repeated(80_000, [0x23, 0, 0x04, 0x40, 0x41, 1, 0x24, 0, 0x0b]),
        ...[0x0c, 0, 0x0b, 0x0b],
      ],
      { globals: [1, 0x7f, 1, 0x41, 0, 0x0b] },
    ),
    "TOOL_OUT_OF_FUEL",
  ],
]);

// Memory.
suite([
  [
    "memory.grow without end",
    startText("(loop $l (drop (memory.grow (i32.const 1))) (br $l))"),
    "TOOL_OUT_OF_MEMORY",
  ],
  [
    "allocation that traps when it gets nothing",
    startText(
      "(loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable))) (br $l))",
    ),
    "TOOL_OUT_OF_MEMORY",
  ],
  [
    "allocation that exits when it gets nothing",
    startText(
      "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (call $proc_exit (i32.const 2))))",
      importing("proc_exit"),
    ),
    "TOOL_OUT_OF_MEMORY",
  ],
  [
    "memory.grow of nothing without end",
    startText("(loop $l (drop (memory.grow (i32.const 0))) (br $l))"),
    "TOOL_OUT_OF_FUEL",
  ],
  [
    "memory.grow past the limit that does without",
    startText(
      "(drop (memory.grow (i32.const 1000))) (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1)) (then (unreachable)))",
    ),
    "ok",
  ],
  [
    "memory.grow of 4 GiB that does without",
    startText("(if (i32.ne (memory.grow (i32.const 65536)) (i32.const -1)) (then (unreachable)))"),
    "ok",
  ],
  [
    "table.grow",
    moduleText(`(table $t 10 funcref) (func (export "_start")
      (if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then (unreachable))))`),
    "ok",
  ],
  [
    "memory that starts above the call's limit",
    moduleText(`(func (export "_start"))`, "", `(memory (export "memory") 1025)`),
    "TOOL_OUT_OF_MEMORY",
  ],
  [
    "memory that starts above every limit",
    moduleText(`(func (export "_start"))`, "", `(memory (export "memory") 65536)`),
    "TOOL_INVALID_MODULE",
  ],
]);

// Traps and stacks.
const stackOverflow: Expected = { code: "TOOL_TRAPPED", message: /call stack/ };
suite([
  [
    "unbounded recursion",
    moduleText(`(func $f (export "_start") (call $f))`),
    stackOverflow,
    { fuel: 1e9 },
  ],
  [
    "unbounded recursion with 4000 locals",
    moduleText(
      `(func $f (export "_start") ${"(local i64)".repeat(4000)} (call $f) (local.set 5 (i64.const 1)))`,
    ),
    stackOverflow,
    { fuel: 1e9 },
  ],
  [
    "catch_all around a stack overflow",
    moduleText(`(func $r (call $r)) (func (export "_start")
      (loop $l (block $h (try_table (catch_all $h) (call $r))) (br $l)))`),
    stackOverflow,
    { fuel: 1e9 },
  ],
  [
    "catch_all around a trap",
    moduleText(`(func (export "_start")
      (block $h (try_table (catch_all $h) (unreachable))) (loop $l (br $l)))`),
    { code: "TOOL_TRAPPED", message: /[Uu]nreachable/ },
  ],
  ["unreachable", startText("(unreachable)"), { code: "TOOL_TRAPPED", message: /[Uu]nreachable/ }],
  [
    "division by zero",
    startText("(drop (i32.div_s (i32.const 1) (i32.const 0)))"),
    { code: "TOOL_TRAPPED", message: /[Dd]ivision/ },
  ],
  [
    "load out of bounds",
    startText("(drop (i32.load (i32.const -4)))"),
    { code: "TOOL_TRAPPED", message: /[Oo]ut of bounds/ },
  ],
  [
    "memory.fill out of bounds",
    startText("(memory.fill (i32.const 0) (i32.const 1) (i32.const -1))"),
    { code: "TOOL_TRAPPED", message: /[Oo]ut of bounds/ },
    { fuel: 1e9 },
  ],
  [
    "call of a wrong type through a table",
    moduleText(`(type $t (func (param i32))) (table 1 funcref) (elem (i32.const 0) $f) (func $f)
      (func (export "_start") (call_indirect (type $t) (i32.const 1) (i32.const 0)))`),
    "TOOL_TRAPPED",
  ],
  ["uncaught throw", moduleText(`(tag $e) (func (export "_start") (throw $e))`), "TOOL_TRAPPED"],
]);

// Modules that are not let in.
const noImport = (text: string): string => `(module ${text} (func (export "_start")))`;
suite([
  ["text", new TextEncoder().encode("(module)"), refused(/does not start/)],
  ["empty file", new Uint8Array(0), refused(/does not start/)],
  ["half a module", moduleBytes([0x0b]).slice(0, 30), refused(/cut off/)],
  ["component", new Uint8Array([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), refused(/component/)],
  ["no memory", `(module (func (export "_start")))`, refused(/memory/)],
  ["no start", moduleText(`(func (export "main"))`), refused(/_start/)],
  ["start with a parameter", moduleText(`(func (export "_start") (param i32))`), refused(/_start/)],
  [
    "50001 locals",
    moduleBytes([0x0b], { locals: [1, ...unsigned(50_001), 0x7e] }),
    refused(/locals/),
  ],
  [
    "locals that overflow 32 bits",
    moduleBytes([0x0b], {
      locals: [2, ...unsigned(2 ** 32 - 1), 0x7e, ...unsigned(2 ** 32 - 1), 0x7f],
    }),
    refused(/locals/),
  ],
  [
    "br_table with a million targets",
    moduleBytes([0x41, 0, 0x0e, ...unsigned(1_000_000), ...repeated(1_000_001, [0]), 0x0b]),
    refused(/br_table/),
  ],
  [
    "100000 nested blocks",
    moduleBytes([...repeated(100_000, [2, 0x40]), ...repeated(100_000, [0x0b]), 0x0b]),
    refused(/nests/),
  ],
  [
    "a body of 3 MB",
    moduleBytes([...repeated(1_000_000, [0x41, 0, 0x1a]), 0x0b]),
    refused(/bytes/),
  ],
  [
    "200000 functions",
    rawModule(
      section(1, [1, 0x60, 0, 0]),
      section(3, [...unsigned(200_000), ...repeated(200_000, [0])]),
      section(10, [...unsigned(200_000), ...repeated(200_000, [2, 0, 0x0b])]),
    ),
    refused(/functions/),
  ],
  [
    "global.set one past the last global",
    moduleBytes([
      0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x24, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b,
    ]),
    refused(/global index/),
  ],
  [
    "call one past the last function",
    moduleBytes([0x42, 0, 0x10, 2, 0x0b]),
    refused(/function index/),
  ],
  [
    "table entry one past the last function",
    moduleBytes([0x42, 0xff, 0, 0x41, 0, 0x11, 1, 0, 0x0b], {
      types: [[0x60, 1, 0x7e, 0]],
      table: [1, 0x70, 0, 1],
      elements: [1, 0, 0x41, 0, 0x0b, 1, 2],
    }),
    refused(/function index/),
  ],
  [
    "export one past the last function",
    moduleBytes([0x0b], { exports: [[...nameBytes("x"), 0, 1]] }),
    refused(/export x/),
  ],
  ["start one past the last function", moduleBytes([0x0b], { start: 1 }), refused(/start/)],
  [
    "call through a table with a type of metering",
    moduleBytes([0x41, 0, 0x11, 1, 0, 0x1a, 0x0b], { table: [1, 0x70, 0, 1] }),
    refused(/type index/),
  ],
  [
    "local one past the last local",
    moduleBytes([0x03, 0x40, 0x42, 0, 0x21, 0, 0x0c, 0, 0x0b, 0x0b]),
    refused(/local index/),
  ],
  [
    "reserved export",
    moduleText(`(func (export "__engram_fuel_set") (param i64)) (func (export "_start"))`),
    refused(/reserved/),
  ],
  [
    "alignment that hides a memory index",
    moduleBytes([0x41, 0, 0x28, 0xc0, 0, 0, 0, 0x1a, 0x0b]),
    refused(/multi-memory/),
  ],
  [
    "negative block type in two bytes",
    moduleBytes([0x02, 0xc0, 0x7f, 0x0b, 0x0b]),
    refused(/block type/),
  ],
  [
    "index of six bytes",
    moduleBytes([0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0x1a, 0x0b], { locals: [1, 1, 0x7f] }),
    refused(/integer/),
  ],
  [
    "else without if in dead code",
    moduleBytes([0x00, 0x02, 0x40, 0x05, 0x0b, 0x0b]),
    refused(/else/),
  ],
  ["label out of range in dead code", moduleBytes([0x00, 0x0c, 9, 0x0b]), refused(/label/)],
  ["code that does not validate", moduleBytes([0x6a, 0x0b]), refused(/validate/)],
  [
    "shared memory",
    moduleText(`(func (export "_start"))`, "", `(memory (export "memory") 1 1 shared)`),
    refused(/threads/),
  ],
  [
    "atomic wait",
    startText("(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))"),
    refused(/threads/),
  ],
  [
    "memory64",
    moduleText(`(func (export "_start"))`, "", `(memory (export "memory") i64 1)`),
    refused(/memory64/),
  ],
  ["two memories", rawModule(section(5, [2, 0, 1, 0, 1])), refused(/multi-memory/)],
  ["imported memory", noImport(`(import "env" "memory" (memory 1))`), refused(/imports a memory/)],
  ["imported function", noImport(`(import "env" "abort" (func))`), refused(/env\.abort/)],
  [
    "unknown system call",
    noImport(`(import "wasi_snapshot_preview1" "fd_hack" (func))`),
    refused(/fd_hack/),
  ],
  [
    "wasi_unstable",
    noImport(`(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))`),
    refused(/wasi_unstable/),
  ],
  [
    "system call of a wrong type",
    noImport(`(import "wasi_snapshot_preview1" "fd_write" (func (param i64 f64) (result i32)))`),
    refused(/wrong type/),
  ],
  [
    "imported global",
    noImport(`(import "env" "g" (global (mut i64)))`),
    refused(/imports a global/),
  ],
  [
    "compact imports",
    rawModule(
      section(1, [1, 0x60, 0, 1, 0x7f]),
      section(2, [1, ...nameBytes("wasi_snapshot_preview1"), 0, 0x7f, 1, ...nameBytes("x"), 0, 0]),
    ),
    refused(/compact imports/),
  ],
  [
    "table of ten million entries",
    moduleText(`(table 10000000 funcref) (func (export "_start"))`),
    refused(/table entries/),
  ],
  ["garbage collected array", rawModule(section(1, [1, 0x5e, 0x78, 1])), refused(/"gc"/)],
  [
    "legacy exceptions",
    moduleText(`(tag $e) (func (export "_start") (try (do (throw $e)) (catch_all)))`),
    refused(/legacy exceptions/),
  ],
  [
    "relaxed SIMD",
    moduleText(`(func (param v128) (result v128)
        (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0)))
      (func (export "_start"))`),
    refused(/relaxed SIMD/),
  ],
  [
    "data out of bounds",
    moduleText(`(data (i32.const 70000) "x") (func (export "_start"))`),
    refused(/cannot be started/),
  ],
]);

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
