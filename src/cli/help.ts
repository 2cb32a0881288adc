import { settingsTable } from "./settings.ts";

const commands = [
  ["serve", "run the engine (also without a command)"],
  ["demo", "show what the engine is for: a conversation that survives kill -9"],
  ["--version", "print the version"],
  ["--help", "print this"],
] as const;

/** What `engram --help` prints. */
export function helpText(): string {
  const lines = [
    "engram: LLM agents as persistent processes",
    "",
    "Usage: engram [COMMAND] [--SETTING VALUE ...]",
    "",
    "Commands",
    ...commands.map(([name, what]) => `  ${name.padEnd(20)}${what}`),
    "",
    "Settings, each an environment variable or a flag (GRPC_PORT, --grpc-port); a flag wins",
    ...settingsTable.map(
      ([name, value, what]) => `  ${name.padEnd(20)}${what}${value === "" ? "" : ` [${value}]`}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
