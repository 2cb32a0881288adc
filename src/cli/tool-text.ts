import type { ToolLimits, ToolOutcome } from "../agent/event.ts";
import type { ToolFile } from "../agent/toolbox.ts";
import { pageBytes } from "../sandbox/meter/shape.ts";
import type { ToolInspection } from "../sandbox/wasm-sandbox.ts";

/** Of a description, in a list. */
const summaryCharsMax = 100;
const digestCharsShown = 12;

/** What a tool says, without the control characters that a terminal obeys. */
export const plainText = (text: string): string => text.replaceAll(/[^\P{Cc}\n\t]/gu, "\uFFFD");

const oneLine = (text: string): string => plainText(text.replaceAll(/\s+/g, " ").trim());

/** One line for each tool: its name, size, the head of its digest, and what it does or why it cannot be used. */
export function listText(files: readonly ToolFile[]): string {
  const nameChars = Math.max(...files.map(({ name }) => name.length));
  const lines = files.map(({ name, sizeBytes, sha256, description, error }) =>
    [
      oneLine(name).padEnd(nameChars),
      `${sizeBytes} bytes`.padStart(14),
      (sha256 || "-").slice(0, digestCharsShown).padEnd(digestCharsShown),
      error === null ? summaryOf(description) : `unusable: ${oneLine(error)}`,
    ].join("  "),
  );
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function summaryOf(description: string): string {
  const line = oneLine(description);
  return line.length > summaryCharsMax ? `${line.slice(0, summaryCharsMax)}...` : line;
}

/** What a call took, and why it failed where it did; lines for stderr. */
export function outcomeText(outcome: ToolOutcome): string {
  const { error, fuelUsed, memoryBytes, durationMs } = outcome;
  const failure = error === null ? "" : `${error.code}: ${plainText(error.message)}\n`;
  return `${failure}fuel ${fuelUsed}, memory ${bytesText(memoryBytes)}, time ${durationMs} ms\n`;
}

/** All that is known of a tool's file, one fact a line, its schema last. */
export function inspectionText({ file, info }: ToolInspection): string {
  const facts: readonly (readonly [string, string])[] = [
    ["name", file.name],
    ["usable", file.error === null ? "yes" : `no: ${oneLine(file.error)}`],
    ["sha256", file.sha256 || "unknown"],
    ["size", `${file.sizeBytes} bytes`],
    ...(info === null ? [] : moduleFacts(info)),
    ["limits", limitsText(file.limits)],
    ["description", oneLine(file.description) || "none"],
    ["confirmation", file.requiresConfirmation ? "required before each call" : "not required"],
    ["parameters", plainText(JSON.stringify(file.parameters, null, 2))],
  ];
  return facts.map(([name, value]) => `${name.padEnd(14)}${value}\n`).join("");
}

function moduleFacts(
  info: NonNullable<ToolInspection["info"]>,
): readonly (readonly [string, string])[] {
  const max = info.pagesMax === null ? "no maximum" : `at most ${pagesText(info.pagesMax)}`;
  return [
    ["imports", info.imports.map(oneLine).join(", ") || "none"],
    ["exports", info.exports.filter(isCalled).join(", ")],
    ["memory", `${pagesText(info.pagesMin)} at the start, ${max} of its own`],
    ["functions", `${info.functionCount}, ${info.meteredBytes} bytes metered`],
  ];
}

/** Whether an export is one that the sandbox uses. */
const isCalled = (name: string): boolean => name === "_start" || name === "memory";

const pagesText = (pages: number): string => bytesText(pages * pageBytes);

const limitsText = ({ fuel, memoryBytes, timeoutMs, outputBytesMax }: ToolLimits): string =>
  `fuel ${fuel}, memory ${bytesText(memoryBytes)}, time ${timeoutMs} ms, output ${bytesText(outputBytesMax)}`;

const bytesText = (bytes: number): string =>
  bytes >= 2 ** 20 ? `${Math.round((bytes / 2 ** 20) * 100) / 100} MiB` : `${bytes / 1024} KiB`;
