import { join } from "node:path";
import { systemClock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { auditLimits } from "../store/audit/audit-limits.ts";
import type { Audit, Tell } from "../store/audit/audit.ts";
import { openFileAudit } from "../store/sqlite/audit/file.ts";
import { readCa } from "./ca.ts";
import { readStoreSettings, type StoreSettings } from "./settings.ts";
import { plainText } from "./tool-text.ts";

/**
 * `engram verify [AGENT]`: shows that every agent is what was written, or says of each what is wrong first. Reads only,
 * beside running engines too. Resolves with the exit code: 1 where anything is wrong. Fails with invalid_argument on bad usage.
 */
export async function verify(args: readonly string[]): Promise<number> {
  const { words, settings } = readStoreSettings(args, process.env);
  const [agentId, more] = words;
  if (more !== undefined) throw new EngramError("invalid_argument", "usage: engram verify [AGENT]");
  const audit = await openAudit(settings);
  try {
    const tally = makeTally(audit);
    await (agentId === undefined ? audit.all(tally) : audit.one(agentId, tally));
    return tally.end();
  } finally {
    audit.close();
  }
}

async function openAudit({ redis, dbPath }: StoreSettings): Promise<Audit> {
  if (redis === null) return openFileAudit(join(dbPath, "engram.db"));
  const { place, prefix, caPath } = redis;
  // The client is loaded where it is needed.
  const { openRedisAudit } = await import("../store/redis/audit/audit.ts");
  return openRedisAudit({ place, prefix, ca: await readCa(caPath), clock: systemClock });
}

const complain = (fault: string): void => void process.stdout.write(`${plainText(fault)}\n`);

const note = (text: string): void => void process.stderr.write(`engram: ${plainText(text)}\n`);

/** Counts what was seen and says what is wrong as it comes; and now and then how far it is, for who waits. */
function makeTally({ size }: Audit): Tell & { readonly end: () => number } {
  const startedMs = performance.now();
  let toldMs = startedMs;
  let agents = 0;
  let damaged = 0;
  let events = 0;
  let faults = 0;
  const tellHowFar = (): void => {
    const nowMs = performance.now();
    if (nowMs - toldMs < auditLimits.progressMs) return;
    toldMs = nowMs;
    const all = size();
    const ofEvents = all.events === null ? "" : ` of ${all.events}`;
    note(`${events}${ofEvents} events, ${agents} of ${all.agents} agents`);
  };
  return {
    note,
    fault: (text) => {
      faults++;
      complain(text);
    },
    read: (more) => {
      events += more;
      tellHowFar();
    },
    agent: (agentId, fault) => {
      agents++;
      tellHowFar();
      if (fault === null) return;
      damaged++;
      faults++;
      complain(`agent ${agentId}: ${fault}`);
    },
    /** The last line, and the exit code. */
    end: () => {
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      const verdict =
        faults === 0 ? "all is as it was written" : `${damaged} damaged agents, ${faults} faults`;
      process.stdout.write(`${agents} agents, ${events} events in ${seconds} s: ${verdict}\n`);
      return faults === 0 ? 0 : 1;
    },
  };
}
