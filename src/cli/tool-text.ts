import type { ToolLimits, ToolOutcome } from "../agent/event.ts";
import type { ToolFile } from "../agent/toolbox.ts";
import { pageBytes } from "../sandbox/meter/shape.ts";
import type { ToolInspection } from "../sandbox/wasm-sandbox.ts";

/** Of a description, in a list. */
const summaryCharsMax = 100;
const digestCharsShown = 12;

/**
 * What a tool or a model says, without the control characters that a terminal obeys, and without those that make it show
 * characters in another order than theirs.
 */
export const plainText = (text: string): string =>
  text
    .replaceAll("\r\n", "\n")
    .replaceAll(/[\p{Cc}\u202A-\u202E\u2066-\u2069]/gu, (char) =>
      char === "\n" || char === "\t" ? char : "\uFFFD",
    );

/** The same in one line. */
export const oneLine = (text: string): string => plainText(text.replaceAll(/\s+/g, " ").trim());

/** What of a line has room in so many columns of a terminal. */
export function fitted(line: string, columns: number): string {
  // A column may take several characters: combining ones have no width. Past this many it is no text.
  const head = line.slice(0, columns * 8);
  if (head.length === line.length && Bun.stringWidth(line) <= columns) return line;
  let kept = "";
  let free = columns - ellipsis.length;
  for (const { segment } of new Intl.Segmenter().segment(head)) {
    free -= Bun.stringWidth(segment);
    if (free < 0) break;
    kept += segment;
  }
  return kept + ellipsis;
}

const ellipsis = "...";

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
