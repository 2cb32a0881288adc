import { isDigit, Kind, parse } from "./lib/json";
import { fail, nowNs, print, readInput } from "./lib/wasi";

/** Offsets in use lie between -12:00 and +14:00; ISO 8601 lets any below a day pass. */
const offsetMinutesMax = 24 * 60 - 1;

function wrong(offset: string): i32 {
  fail('"' + offset + '" is not an offset from UTC; give one such as "+02:00", "-0530" or "Z"');
  return 0;
}

function twoDigits(text: string, at: i32): i32 {
  if (at + 2 > text.length) return -1;
  const high = text.charCodeAt(at);
  const low = text.charCodeAt(at + 1);
  return isDigit(high) && isDigit(low) ? (high - 0x30) * 10 + low - 0x30 : -1;
}

/** Minutes east of UTC. */
function minutesOf(offset: string): i32 {
  const text = offset.trim().toUpperCase();
  if (text == "" || text == "Z" || text == "UTC" || text == "GMT") return 0;
  const sign = text.charAt(0);
  if (sign != "+" && sign != "-") return wrong(offset);
  const hours = twoDigits(text, 1);
  const at = text.charAt(3) == ":" ? 4 : 3;
  const minutes = text.length == 3 ? 0 : twoDigits(text, at);
  const isWhole = text.length == 3 || text.length == at + 2;
  if (hours < 0 || minutes < 0 || minutes > 59 || !isWhole) return wrong(offset);
  const total = hours * 60 + minutes;
  if (total > offsetMinutesMax) return wrong(offset);
  return sign == "-" ? -total : total;
}

function padded(value: i64, width: i32): string {
  return value.toString().padStart(width, "0");
}

/** The day's date, from days since 1970-01-01 in the Gregorian calendar (H. Hinnant, chrono-compatible algorithms). */
function dateOf(days: i64): string {
  const shifted = days + 719468;
  const era = shifted / 146097;
  const dayOfEra = shifted % 146097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const shiftedMonth = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return padded(year, 4) + "-" + padded(month, 2) + "-" + padded(day, 2);
}

function main(): void {
  const input = parse(readInput(), "the input");
  const given = input.get("offset");
  if (given != null && given.kind != Kind.Text && given.kind != Kind.Null) {
    fail('"offset" must be a text such as "+02:00"');
  }
  const minutes = given != null && given.kind == Kind.Text ? minutesOf(given.text) : 0;
  const seconds = <i64>(nowNs() / 1000000000) + <i64>minutes * 60;
  const inDay = seconds % 86400;
  const time =
    padded(inDay / 3600, 2) + ":" + padded((inDay / 60) % 60, 2) + ":" + padded(inDay % 60, 2);
  const east = minutes < 0 ? -minutes : minutes;
  const zone = (minutes < 0 ? "-" : "+") + padded(east / 60, 2) + ":" + padded(east % 60, 2);
  print(dateOf(seconds / 86400) + "T" + time + (minutes == 0 ? "Z" : zone));
}

main();
