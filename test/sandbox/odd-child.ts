import { readSync, writeSync } from "node:fs";
import { encodeFrame } from "../../src/sandbox/frame.ts";
import { guardProcess } from "../../src/sandbox/guard.ts";

/** Run by itself, this file is a child that does what a sound one does not; its argument says what. */
export const oddChild = import.meta.path;

const hang: () => never = () => {
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
};

const misbehave = (how: string | undefined): never => {
  const request = Buffer.alloc(65_536);
  readSync(0, request);
  switch (how) {
    case "exit":
      writeSync(2, "something went wrong\n");
      process.exit(3);
    case "kill":
      process.kill(process.pid, "SIGKILL");
      hang();
    case "garbage":
      writeSync(1, "Segmentation fault, core dumped\n");
      hang();
    case "twice":
      writeSync(1, encodeFrame({ kind: "ran" }));
      writeSync(1, encodeFrame({ kind: "ran" }));
      hang();
    case "start":
      writeSync(1, encodeFrame({ kind: "started" }));
      hang();
    case "picky":
      if (request.includes("quick")) writeSync(1, encodeFrame({ kind: "ran" }));
      hang();
    default:
      hang();
  }
};

if (import.meta.main) {
  // Not so odd that it outlives its test.
  guardProcess(Number(process.argv.at(-1)), { read: [], write: [] });
  misbehave(process.argv[2]);
}
