import { settingsTable } from "./settings.ts";

const commands = [
  ["serve", "run the engine (also without a command)"],
  ["demo", "show what the engine is for: a conversation that survives kill -9"],
  [
    "chat [AGENT]",
    "talk with an agent, the newest without a name; from a pipe, say what comes there",
  ],
  ["agents [STATUS]", "list the agents, the newest first, or those of a status"],
  ["create GOAL", "make an agent that thinks with --model MODEL, and print its id; it may have a"],
  ["", "--system PROMPT, --tools NAME,NAME or --no-tools; with --wait it waits for input"],
  ["create -", "make an agent of a CreateAgentRequest in JSON on the standard input"],
  ["pause|resume AGENT", "stop an agent where it is, or let it go on"],
  ["cancel|retry AGENT", "end an agent for good, or let one that failed try again"],
  ["confirm AGENT [CALL]", "let a tool call run that waits for it; --reject [REASON]: do not"],
  ["delete AGENT", "delete an agent; with --force one that works, too"],
  ["verify [AGENT]", "show that what is stored is what was written, or what is wrong; reads only"],
  ["log AGENT [--follow]", "print the agent's events, a line each, whole as JSON where LOG_FORMAT"],
  ["", "says so or it goes into a pipe or a file; with --follow on as they come"],
  [
    "log AGENT --prompt",
    "print what its model was sent by its latest call, or --prompt N by call N, to the",
  ],
  ["", "byte; but for LLM_PROVIDER and LLM_OPTIONS, which are those that the engine has now"],
  ["export AGENT", "write a resting agent as a file, to the standard output"],
  ["import FILE", "bring the agent of such a file in, as it was"],
  ["torture", "kill and restart an engine, or several, under load; check what clients see"],
  ["tool list", "show the tools of the tools folder"],
  ["tool run NAME [JSON]", "call a tool with an input, under the same limits as an agent's call"],
  ["tool inspect FILE", "say what a tool's file imports, takes and may use, or why it is refused"],
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
    ...commands.map(([name, what]) => `  ${name.padEnd(22)}${what}`),
    "",
    "Settings, each an environment variable or a flag (GRPC_PORT, --grpc-port); a flag wins",
    ...settingsTable.map(
      ([name, value, what]) => `  ${name.padEnd(22)}${what}${value === "" ? "" : ` [${value}]`}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
