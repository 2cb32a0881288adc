import { join } from "node:path";
import { assemble, importing, startText } from "../sandbox/harness.ts";

/** Prints what is at 256. */
const print = (text: string): { readonly code: string; readonly memory: string } => ({
  code: `(i32.store (i32.const 200) (i32.const 256))
    (i32.store (i32.const 204) (i32.const ${text.length}))
    (drop (call $fd_write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 208)))`,
  memory: `(memory (export "memory") 1) (data (i32.const 256) "${text}")`,
});

const said = print("done");

/** A subscription to the monotonic clock: its id at 16, the time in ns at 24. */
const sleep = (ms: number): string =>
  `(i32.store (i32.const 16) (i32.const 1))
   (i64.store (i32.const 24) (i64.const ${ms * 1_000_000}))
   (drop (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))`;

const modules = {
  /** Says done. */
  quick: startText(said.code, importing("fd_write"), said.memory),
  /** Says done after a second. */
  slow: startText(sleep(1_000) + said.code, importing("fd_write", "poll_oneoff"), said.memory),
  looping: startText("(loop $on (br $on))"),
  hoarding: startText(
    `(loop $on
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
      (br $on))`,
  ),
  /** Does not look at what growing answers. */
  careless: startText("(loop $on (drop (memory.grow (i32.const 16))) (br $on))"),
  trapping: startText("(unreachable)"),
  failing: startText("(call $proc_exit (i32.const 3))", importing("proc_exit")),
  chattering: startText(`(loop $on ${said.code} (br $on))`, importing("fd_write"), said.memory),
  /** Wants what is not given to tools. */
  reaching: `(module (import "env" "open" (func)) (memory (export "memory") 1) (func (export "_start")))`,
} as const;

export type ToolModule = keyof typeof modules;

/** Puts tools into a folder of an engine, each under its module's name. */
export const putTools = async (folder: string, ...names: readonly ToolModule[]): Promise<void> => {
  for (const name of names)
    await Bun.write(join(folder, "tools", `${name}.wasm`), await assemble(modules[name]));
};
