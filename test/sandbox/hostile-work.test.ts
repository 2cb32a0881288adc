import { moduleText, startText } from "./harness.ts";
import { suite } from "./hostile-suite.ts";
import { moduleBytes, repeated, unsigned } from "./module-bytes.ts";

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
        0x03,
        0x40,
        ...repeated(80_000, [0x23, 0, 0x04, 0x40, 0x41, 1, 0x24, 0, 0x0b]),
        0x0c,
        0,
        0x0b,
        0x0b,
      ],
      { globals: [1, 0x7f, 1, 0x41, 0, 0x0b] },
    ),
    "TOOL_OUT_OF_FUEL",
  ],
]);
