import { importing, moduleText, startText } from "./harness.ts";
import { type Expected, suite } from "./hostile-suite.ts";

// Memory, stacks and traps.
const stackOverflow: Expected = { code: "TOOL_TRAPPED", message: /call stack/ };

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
