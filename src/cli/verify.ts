import type { Database } from "bun:sqlite";
import { join } from "node:path";
import { EngramError, messageOf } from "../errors.ts";
import { auditLimits } from "../limits.ts";
import { faultsOf } from "../store/sqlite/audit-store.ts";
import { type Audit, type AuditedAgent, openAudit } from "../store/sqlite/audit.ts";
import { brokenPromise } from "../store/sqlite/identity.ts";
import { openReadOnly } from "../store/sqlite/open-readonly.ts";
import { formatOf } from "../store/sqlite/schema.ts";
import { readStoreSettings } from "./settings.ts";
import { plainText } from "./tool-text.ts";

/**
 * `engram verify [AGENT]`: shows that every agent is what was written, or says of each what is wrong first. Reads only,
 * beside a running engine too. Resolves with the exit code: 1 where anything is wrong. Fails with invalid_argument on bad usage.
 */
export async function verify(args: readonly string[]): Promise<number> {
  const { words, dbPath } = readStoreSettings(args, process.env);
  const [agentId, more] = words;
  if (more !== undefined) throw new EngramError("invalid_argument", "usage: engram verify [AGENT]");
  const path = join(dbPath, "engram.db");
  const broken = brokenPromise(path);
  if (broken !== null) complain(broken);
  const db = openReadOnly(path);
  const format = formatOf(db, path);
  if (format === 0) throw new EngramError("not_found", `${path} holds nothing`);
  const found = broken === null ? 0 : 1;
  try {
    return agentId === undefined
      ? verifyAll(db, { path, format, found })
      : verifyAgent(db, { path, format, found }, agentId);
  } finally {
    db.close(true);
  }
}

/** What is looked at; `found`: the faults that were told already. */
type Subject = { readonly path: string; readonly format: number; readonly found: number };

function verifyAgent(db: Database, { path, format, found }: Subject, agentId: string): number {
  const audit = openAudit(db, format, true);
  const agent = audit.find(agentId);
  if (agent === null) throw new EngramError("not_found", `there is no agent ${agentId} in ${path}`);
  const tally = makeTally(audit.size, found);
  tally.count(agent, verifyOne(audit, agent, tally.read));
  audit.close();
  return tally.end();
}

function verifyAll(db: Database, { path, format, found }: Subject): number {
  if (format === 1)
    note(`${path} has store format 1: its logs are checked; an engine brings it up to date`);
  let audit: Audit | null = null;
  const tally = makeTally(() => audit?.size() ?? { agents: 0, events: 0 }, found);
  try {
    audit = openAudit(db, format, true);
    let after = 0;
    for (let page = audit.agents(after); page.length > 0; page = audit.agents(after))
      for (const agent of page) {
        tally.count(agent, verifyOne(audit, agent, tally.read));
        after = agent.id;
      }
  } catch (error) {
    tally.fault(`${path}: its agents cannot be read: ${messageOf(error)}`);
  }
  for (const fault of faultsOf(db, format)) tally.fault(`${path}: ${fault}`);
  audit?.close();
  return tally.end();
}

function verifyOne(
  audit: Audit,
  agent: AuditedAgent,
  read: (events: number) => void,
): string | null {
  const walk = audit.agent(agent);
  for (let next = walk.next(); ; next = walk.next()) {
    if (next.done === true) return next.value;
    read(next.value);
  }
}

const complain = (fault: string): void => void process.stdout.write(`${plainText(fault)}\n`);

const note = (text: string): void => void process.stderr.write(`engram: ${plainText(text)}\n`);

/** Counts what was seen and says what is wrong as it comes; and now and then how far it is, for who waits. */
function makeTally(size: Audit["size"], found: number) {
  const startedMs = performance.now();
  let toldMs = startedMs;
  let agents = 0;
  let damaged = 0;
  let events = 0;
  let faults = found;
  const tell = (): void => {
    const nowMs = performance.now();
    if (nowMs - toldMs < auditLimits.progressMs) return;
    toldMs = nowMs;
    const all = size();
    note(`${events} of ${all.events} events, ${agents} of ${all.agents} agents`);
  };
  return {
    fault: (fault: string): void => {
      faults++;
      complain(fault);
    },
    read: (more: number): void => {
      events += more;
      tell();
    },
    count: ({ agentId }: AuditedAgent, fault: string | null): void => {
      agents++;
      tell();
      if (fault === null) return;
      damaged++;
      faults++;
      complain(`agent ${agentId}: ${fault}`);
    },
    /** The last line, and the exit code. */
    end: (): number => {
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      const verdict =
        faults === 0 ? "all is as it was written" : `${damaged} damaged agents, ${faults} faults`;
      process.stdout.write(`${agents} agents, ${events} events in ${seconds} s: ${verdict}\n`);
      return faults === 0 ? 0 : 1;
    },
  };
}
