import { join } from "node:path";
import type { Wishes } from "./grpc-js.ts";

const repository = join(import.meta.dir, "..", "..", "..");

/** A program in Node; what it prints comes line by line. */
export type NodeClient = AsyncDisposable & {
  /** The next line, parsed; null: it has ended well. Fails with its words where it ended otherwise. */
  readonly line: () => Promise<unknown>;
};

/** Within the repository, where Node finds the packages. */
const build = async (): Promise<string> => {
  const { outputs } = await Bun.build({
    entrypoints: [join(import.meta.dir, "grpc-js.ts")],
    target: "node",
    packages: "external",
    outdir: join(repository, ".cache", "node-client"),
    naming: "[name].mjs",
  });
  const [program] = outputs;
  if (program === undefined) throw new Error("the program came to nothing");
  return program.path;
};

let built: Promise<string> | null = null;

async function* linesOf(output: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of output) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** Starts the client of @grpc/grpc-js under Node, which must be installed; it is killed at the end of the scope. */
export const openNodeClient = async (wishes: Omit<Wishes, "protoFolder">): Promise<NodeClient> => {
  const program = await (built ??= build());
  const given: Wishes = { ...wishes, protoFolder: join(repository, "proto") };
  const child = Bun.spawn(["node", program, JSON.stringify(given)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const words = child.stderr.text();
  const lines = linesOf(child.stdout);
  return {
    line: async () => {
      const next = await lines.next();
      if (next.done !== true) return JSON.parse(next.value);
      const exitCode = await child.exited;
      if (exitCode !== 0) throw new Error(`node ended with ${exitCode}: ${await words}`);
      return null;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
};
