import type { Database } from "bun:sqlite";
import { EngramError, messageOf } from "../../../errors.ts";
import type { Audit, Tell } from "../../audit/audit.ts";
import { faultsOf } from "./store.ts";
import { type AuditedAgent, type FileAudit, openAudit } from "./audit.ts";
import { brokenPromise } from "../identity.ts";
import { openReadOnly } from "../open-readonly.ts";
import { formatOf } from "../schema.ts";

/** Of the database at `path`. Fails with not_found where it holds nothing, and with corrupt where it cannot be opened at all. */
export function openFileAudit(path: string): Audit {
  const broken = brokenPromise(path);
  const db = opened(path, broken);
  const format = formatOf(db, path);
  if (format === 0) {
    db.close(true);
    throw new EngramError("not_found", `${path} holds nothing`);
  }
  let audit: FileAudit | null = null;
  const agents = (): FileAudit => (audit ??= openAudit(db, format, true));
  return {
    size: () => audit?.size() ?? { agents: 0, events: 0 },
    all: async (tell) => {
      if (broken !== null) tell.fault(broken);
      if (format === 1)
        tell.note(
          `${path} has store format 1: its logs are checked; an engine brings it up to date`,
        );
      try {
        walkAll(agents(), tell);
      } catch (error) {
        tell.fault(`${path}: its agents cannot be read: ${messageOf(error)}`);
      }
      for (const fault of faultsOf(db, format)) tell.fault(`${path}: ${fault}`);
    },
    one: async (agentId, tell) => {
      if (broken !== null) tell.fault(broken);
      const agent = agents().find(agentId);
      if (agent === null)
        throw new EngramError("not_found", `there is no agent ${agentId} in ${path}`);
      tell.agent(agentId, walk(agents(), agent, tell));
    },
    close: () => {
      audit?.close();
      db.close(true);
    },
  };
}

/** Where the file is gone or empty, what was promised beside it says more. */
function opened(path: string, broken: string | null): Database {
  try {
    return openReadOnly(path);
  } catch (cause) {
    throw broken === null ? cause : new EngramError("corrupt", broken, { cause });
  }
}

function walkAll(audit: FileAudit, tell: Tell): void {
  let after = 0;
  for (let page = audit.agents(after); page.length > 0; page = audit.agents(after))
    for (const agent of page) {
      tell.agent(agent.agentId, walk(audit, agent, tell));
      after = agent.id;
    }
}

function walk(audit: FileAudit, agent: AuditedAgent, tell: Tell): string | null {
  const pages = audit.agent(agent);
  for (let next = pages.next(); ; next = pages.next()) {
    if (next.done === true) return next.value;
    tell.read(next.value);
  }
}
