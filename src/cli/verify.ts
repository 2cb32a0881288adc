import { join } from "node:path";
import { EngramError } from "../errors.ts";
import { auditLimits } from "../limits.ts";
import { type Audit, type AuditedAgent, openAudit } from "../store/audit.ts";
import { openReadOnly } from "../store/open-readonly.ts";
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
  const db = openReadOnly(path);
  const audit = openAudit(db);
  try {
    if (agentId === undefined) return await verifyAll(audit, path);
    const agent = audit.find(agentId);
    if (agent === null)
      throw new EngramError("not_found", `there is no agent ${agentId} in ${path}`);
    const tally = makeTally(audit);
    tally.count(agent, verifyOne(audit, agent, tally.read));
    return tally.end();
  } finally {
    audit.close();
    db.close(true);
  }
}

async function verifyAll(audit: Audit, path: string): Promise<number> {
  const tally = makeTally(audit);
  let after = 0;
  for (let page = audit.agents(after); page.length > 0; page = audit.agents(after))
    for (const agent of page) {
      tally.count(agent, verifyOne(audit, agent, tally.read));
      after = agent.id;
    }
  for (const fault of audit.rest()) tally.complain(`${path}: ${fault}`);
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

/** Counts what was seen and says what is wrong as it comes; and now and then how far it is, for who waits. */
function makeTally(audit: Audit) {
  const startedMs = performance.now();
  let toldMs = startedMs;
  let agents = 0;
  let damaged = 0;
  let events = 0;
  let faults = 0;
  const complain = (fault: string): void => {
    faults++;
    process.stdout.write(`${plainText(fault)}\n`);
  };
  const tell = (): void => {
    const nowMs = performance.now();
    if (nowMs - toldMs < auditLimits.progressMs) return;
    toldMs = nowMs;
    const all = audit.size();
    process.stderr.write(
      `engram: ${events} of ${all.events} events, ${agents} of ${all.agents} agents\n`,
    );
  };
  return {
    complain,
    read: (more: number): void => {
      events += more;
      tell();
    },
    count: ({ agentId }: AuditedAgent, fault: string | null): void => {
      agents++;
      tell();
      if (fault === null) return;
      damaged++;
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
