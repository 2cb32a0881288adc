import { version as manifestVersion } from "../package.json" with { type: "json" };
import { EngramError, messageOf } from "./errors.ts";

type Command = (args: readonly string[]) => Promise<number>;

/** What carries out each command, loaded when it is called: the engine and its clients need not each other. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import("./cli/serve.ts")).serve,
  demo: async () => (await import("./cli/demo/demo.ts")).demo,
  torture: async () => (await import("./cli/torture/torture.ts")).torture,
  tool: async () => (await import("./cli/tool.ts")).tool,
  verify: async () => (await import("./cli/verify.ts")).verify,
  log: async () => (await import("./cli/agent-log.ts")).log,
  export: async () => (await import("./cli/move.ts")).exportAgent,
  import: async () => (await import("./cli/move.ts")).importAgent,
  chat: async () => (await import("./cli/chat/chat.ts")).chat,
  agents: async () => (await import("./cli/agents.ts")).agents,
  create: async () => (await import("./cli/create.ts")).createAgent,
  pause: async () => (await import("./cli/control.ts")).pause,
  resume: async () => (await import("./cli/control.ts")).resume,
  cancel: async () => (await import("./cli/control.ts")).cancel,
  retry: async () => (await import("./cli/control.ts")).retry,
  confirm: async () => (await import("./cli/confirm.ts")).confirm,
  delete: async () => (await import("./cli/control.ts")).deleteAgent,
  "--version": async () => version,
  "--help": async () => help,
};

async function version(): Promise<number> {
  process.stdout.write(`engram ${manifestVersion}\n`);
  return 0;
}

async function help(): Promise<number> {
  process.stdout.write((await import("./cli/help.ts")).helpText());
  return 0;
}

/** Runs the command that the arguments name; resolves with the exit code. */
async function run(args: readonly string[]): Promise<number> {
  const [name = "serve", ...rest] = args;
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load !== undefined) return (await load())(rest);
  if (name.startsWith("--")) return (await import("./cli/serve.ts")).serve(args);
  process.stderr.write(`engram: no command ${JSON.stringify(name)}; see engram --help\n`);
  return 2;
}

async function main(): Promise<void> {
  if (process.argv[2] === "__sandbox") {
    // Nothing else is loaded for it: a child has to be small, and there in a few milliseconds.
    const { runSandboxChild } = await import("./sandbox/child.ts");
    await runSandboxChild();
  }
  // A reader that has gone away (engram --help | head) is no failure to speak of.
  process.stdout.on("error", () => process.exit(1));
  try {
    process.exit(await run(process.argv.slice(2)));
  } catch (error) {
    process.stderr.write(`engram: ${messageOf(error)}\n`);
    const usage = error instanceof EngramError && error.code === "invalid_argument";
    process.exit(usage ? 2 : 1);
  }
}

await main();
