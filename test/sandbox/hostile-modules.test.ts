import { moduleText, startText } from "./harness.ts";
import { refused, suite } from "./hostile-suite.ts";
import { moduleBytes, nameBytes, rawModule, repeated, section, unsigned } from "./module-bytes.ts";

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
