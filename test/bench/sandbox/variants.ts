import { join } from "node:path";
import { meter } from "../../../src/sandbox/meter/meter.ts";
import { limitMemory } from "../../../src/sandbox/meter/metered.ts";
import { childEnvironment } from "../../../src/sandbox/child-process.ts";
import type { Answer, Request } from "./workload-process.ts";

const pagesMax = 4096;

/** One module in its two forms, as files. */
export type Variants = { readonly raw: string; readonly metered: string };

/** Meters the module at `path` into a file beside it. */
export const meterFile = async (path: string): Promise<Variants> => {
  const module = meter(new Uint8Array(await Bun.file(path).arrayBuffer()));
  limitMemory(module, pagesMax);
  const metered = path.replace(/\.wasm$/, ".metered.wasm");
  await Bun.write(metered, module.bytes);
  return { raw: path, metered };
};

/** A process that runs one form of a module, under the settings of the sandbox's children. */
export type Runner = {
  run(request: Request): Promise<Answer>;
  close(): Promise<void>;
};

export const openRunner = (path: string): Runner => {
  let waiting = Promise.withResolvers<Answer>();
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "workload-process.ts"), path], {
    env: childEnvironment,
    stdio: ["ignore", "inherit", "inherit"],
    ipc: (answer: Answer) => waiting.resolve(answer),
    onExit: (_, exitCode) =>
      waiting.reject(new Error(`the process of ${path} ended with ${exitCode}`)),
  });
  return {
    run: (request) => {
      waiting = Promise.withResolvers<Answer>();
      child.send(request);
      return waiting.promise;
    },
    close: async () => {
      child.kill();
      await child.exited;
    },
  };
};

/** Times of one workload in both forms, in ms. */
export type Times = { readonly raw: number[]; readonly metered: number[] };

/** Calls `first` and `second` in turn, each of them first every other time. */
export const inTurn = async (
  round: number,
  first: () => Promise<void>,
  second: () => Promise<void>,
): Promise<void> => {
  const [a, b] = round % 2 === 0 ? [first, second] : [second, first];
  await a();
  await b();
};
