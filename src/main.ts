import { version } from "../package.json" with { type: "json" };
import { demo } from "./cli/demo.ts";
import { helpText } from "./cli/help.ts";
import { serve } from "./cli/serve.ts";
import { tool } from "./cli/tool.ts";
import { EngramError, messageOf } from "./errors.ts";
import { runSandboxChild } from "./sandbox/child.ts";

/** Runs the command that the arguments name; resolves with the exit code. */
async function run(args: readonly string[]): Promise<number> {
  const [command = "serve", ...rest] = args;
  switch (command) {
    case "serve":
      return serve(rest);
    case "demo":
      return demo();
    case "tool":
      return tool(rest);
    case "--version":
      process.stdout.write(`engram ${version}\n`);
      return 0;
    case "--help":
      process.stdout.write(helpText());
      return 0;
    default:
      if (command.startsWith("--")) return serve(args);
      process.stderr.write(`engram: no command ${JSON.stringify(command)}; see engram --help\n`);
      return 2;
  }
}

async function main(): Promise<void> {
  if (process.argv[2] === "__sandbox") runSandboxChild();
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
