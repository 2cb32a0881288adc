import type { Log, LogLevel } from "../log.ts";
import { oneLine, plainText } from "./tool-text.ts";

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Writes lines from `level` on to stderr, for a reader or as one JSON object a line. */
export function makeLog(level: LogLevel, format: "text" | "json"): Log {
  const line = format === "json" ? jsonLine : textLine;
  return (lineLevel, message, fields = {}) => {
    if (ranks[lineLevel] >= ranks[level])
      process.stderr.write(`${line(lineLevel, message, fields)}\n`);
  };
}

type Fields = Readonly<Record<string, unknown>>;

const jsonLine = (level: LogLevel, message: string, fields: Fields): string =>
  JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }, plain);

function textLine(level: LogLevel, message: string, fields: Fields): string {
  const time = new Date().toISOString().slice(11, 23);
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${valueText(value)}`);
  // A terminal would obey what clients, models and their servers wrote.
  return plainText(`${time} ${level.padEnd(5)} ${oneLine(message)}${pairs.join("")}`);
}

const valueText = (value: unknown): string =>
  typeof value === "string" && /^[\w./:@-]+$/.test(value)
    ? value
    : (JSON.stringify(value, plain) ?? "undefined");

/** An error keeps its stack in the log; nowhere else is it shown. */
const plain = (_name: string, value: unknown): unknown =>
  value instanceof Error
    ? { name: value.name, message: value.message, stack: value.stack }
    : typeof value === "bigint"
      ? value.toString()
      : value;
