import type { Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { rowFaultsOf } from "./audit/store.ts";
import { openAudit } from "./audit/audit.ts";
import { formatVersion } from "./schema.ts";

/** Something wrong; `agentId` null: of no one agent. */
export type Finding = { readonly agentId: string | null; readonly fault: string };

/** Walks the file and every agent in it; null after each page, where the caller may do something else. */
export function* findingsOf(db: Database): Generator<Finding | null> {
  for (const fault of structureFaults(db)) yield { agentId: null, fault };
  for (const fault of rowFaultsOf(db, formatVersion)) yield { agentId: null, fault };
  const audit = openAudit(db, formatVersion, false);
  try {
    let after = 0;
    for (let page = audit.agents(after); page.length > 0; page = audit.agents(after))
      for (const agent of page) {
        after = agent.id;
        const walk = audit.agent(agent);
        let next = walk.next();
        for (; next.done !== true; next = walk.next()) yield null;
        if (next.value !== null) yield { agentId: agent.agentId, fault: next.value };
      }
  } finally {
    audit.close();
  }
}

/** What SQLite finds in the order of the file's pages. */
export function structureFaults(db: Database): readonly string[] {
  return db
    .query<{ quick_check: string }, []>("PRAGMA quick_check")
    .all()
    .map(({ quick_check: complaint }) => complaint)
    .filter((complaint) => complaint !== "ok");
}

/** A complaint behind which the next writes may go over what is whole. */
export const isSpreading = (complaint: string): boolean =>
  /freelist|2nd reference|invalid page number|pointer map/i.test(complaint);

/** What there is to be read, in bytes. */
export const bytesOf = (path: string): number =>
  [path, `${path}-wal`].reduce(
    (sum, file) => sum + (existsSync(file) ? statSync(file).size : 0),
    0,
  );
