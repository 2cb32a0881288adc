import { version } from "../package.json" with { type: "json" };
import { EngramError, messageOf } from "./errors.ts";

const serve = async (args: readonly string[]): Promise<number> =>
  (await import("./cli/serve.ts")).serve(args);

/** Runs the command that the arguments name; resolves with the exit code. */
async function run(args: readonly string[]): Promise<number> {
  const [command = "serve", ...rest] = args;
  switch (command) {
    case "serve":
      return serve(rest);
    case "demo": {
      const { demo } = await import("./cli/demo.ts");
      return demo();
    }
    case "torture": {
      const { torture } = await import("./cli/torture/torture.ts");
      return torture(rest);
    }
    case "tool": {
      const { tool } = await import("./cli/tool.ts");
      return tool(rest);
    }
    case "verify": {
      const { verify } = await import("./cli/verify.ts");
      return verify(rest);
    }
    case "log": {
      const { log } = await import("./cli/agent-log.ts");
      return log(rest);
    }
    case "export":
    case "import": {
      const { exportAgent, importAgent } = await import("./cli/move.ts");
      return command === "export" ? exportAgent(rest) : importAgent(rest);
    }
    case "agents": {
      const { agents } = await import("./cli/agents.ts");
      return agents(rest);
    }
    case "create": {
      const { createAgent } = await import("./cli/create.ts");
      return createAgent(rest);
    }
    case "pause":
    case "resume":
    case "cancel":
    case "retry": {
      const { control } = await import("./cli/control.ts");
      return control(command, rest);
    }
    case "delete": {
      const { deleteAgent } = await import("./cli/control.ts");
      return deleteAgent(rest);
    }
    case "confirm": {
      const { confirm } = await import("./cli/confirm.ts");
      return confirm(rest);
    }
    case "--version":
      process.stdout.write(`engram ${version}\n`);
      return 0;
    case "--help": {
      const { helpText } = await import("./cli/help.ts");
      process.stdout.write(helpText());
      return 0;
    }
    default:
      if (command.startsWith("--")) return serve(args);
      process.stderr.write(`engram: no command ${JSON.stringify(command)}; see engram --help\n`);
      return 2;
  }
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
