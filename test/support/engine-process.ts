import { createClient, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";

/** What `bun run build` makes; another one where a release is to be tried. */
export const binary =
  Bun.env["ENGRAM_BINARY"] ?? join(import.meta.dir, "..", "..", "dist", "engram");

export type Settings = Readonly<Record<string, string>>;

export type LogLine = { readonly level: string; readonly message: string };

/** The built binary as a process in a folder of its own. */
export type EngineProcess = AsyncDisposable & {
  /** Its working folder: data/ and tools/ are in it, as by default. */
  readonly folder: string;
  readonly url: string;
  /** host:port, as gRPC clients want it. */
  readonly target: string;
  /** Of the process that runs now. */
  readonly pid: number;
  /** A gRPC client of the process that runs now. */
  readonly client: Client<typeof AgentService>;
  /** What it has logged, over all its starts. */
  readonly logged: readonly LogLine[];
  /** Starts it again in the same folder, on a port of its own; `program`: as another binary. */
  start(settings?: Settings, program?: string): Promise<void>;
  /** SIGKILL; resolves when nothing of it is left. */
  kill(): Promise<void>;
  /** Halts it where it is, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>;
};

type Running = {
  readonly process: Bun.Subprocess<"ignore", "ignore", "pipe">;
  readonly url: string;
  readonly client: Client<typeof AgentService>;
};

const environment = (settings: Settings): Record<string, string> => ({
  LLM_PROVIDER: "scripted",
  GRPC_PORT: "0",
  LOG_FORMAT: "json",
  ...settings,
});

export const makeFolder = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "engram-e2e-"));
  await mkdir(join(folder, "tools"));
  return folder;
};

/** Resolves with the address that a starting engine logs, and goes on reading its log so that no full pipe blocks it. */
const readLog = (stderr: ReadableStream<Uint8Array>, logged: LogLine[]): Promise<string> => {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stderr) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) {
        const line = text.startsWith("{") ? JSON.parse(text) : { level: "none", message: text };
        logged.push(line);
        if (line.message === "engram is ready") resolve(line.url);
      }
    }
    reject(new Error(`the engine ended: ${JSON.stringify(logged)}${rest}`));
  };
  read().catch(reject);
  return promise;
};

const run = async (
  program: string,
  folder: string,
  settings: Settings,
  logged: LogLine[],
): Promise<Running> => {
  const process = Bun.spawn([program], {
    cwd: folder,
    env: environment(settings),
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const url = await readLog(process.stderr, logged);
  const apiKey = settings["API_KEY"]?.split(",")[0];
  const transport = createGrpcTransport({
    baseUrl: url,
    interceptors: [
      (next) => (request) => {
        if (apiKey !== undefined) request.header.set("x-api-key", apiKey);
        return next(request);
      },
    ],
  });
  return { process, url, client: createClient(AgentService, transport) };
};

/** Starts the binary in an empty folder and resolves when it is ready; stops it and removes the folder at the end of the scope. */
export const openEngine = async (
  settings: Settings = {},
  program = binary,
): Promise<EngineProcess> => {
  const folder = await makeFolder();
  const logged: LogLine[] = [];
  let running = await run(program, folder, settings, logged);
  const end = (signal: "SIGKILL" | "SIGTERM"): Promise<number> => {
    running.process.kill(signal);
    return running.process.exited;
  };
  return {
    folder,
    logged,
    get url() {
      return running.url;
    },
    get pid() {
      return running.process.pid;
    },
    get target() {
      return new URL(running.url).host;
    },
    get client() {
      return running.client;
    },
    start: async (changed = settings, by = program) => {
      running = await run(by, folder, changed, logged);
    },
    kill: async () => void (await end("SIGKILL")),
    freeze: () => running.process.kill("SIGSTOP"),
    thaw: () => running.process.kill("SIGCONT"),
    stop: () => end("SIGTERM"),
    [Symbol.asyncDispose]: async () => {
      await end("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
};

export type Ended = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/** Longer than anything it is asked to do; what has not ended by then never will. */
const runMsMax = 50_000;

/** Starts the binary with what it prints in pipes; the caller awaits its end. */
export const spawnBinary = (
  folder: string,
  args: readonly string[],
  settings: Settings = {},
): Bun.Subprocess<"ignore", "pipe", "pipe"> =>
  Bun.spawn([binary, ...args], {
    cwd: folder,
    env: environment(settings),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: runMsMax,
    killSignal: "SIGKILL",
  });

/** Runs the binary to its end. */
export const runBinary = async (
  folder: string,
  args: readonly string[],
  settings: Settings = {},
): Promise<Ended> => {
  const process = spawnBinary(folder, args, settings);
  const [stdout, stderr, exitCode] = await Promise.all([
    process.stdout.text(),
    process.stderr.text(),
    process.exited,
  ]);
  return { exitCode, stdout, stderr };
};
