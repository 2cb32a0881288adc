import { selfCommand } from "../self.ts";

/** The engine's own look at what is stored: the last line of what it says. */
export async function verify(
  folder: string,
  settings: Readonly<Record<string, string>>,
  report: (rule: string, detail: string) => void,
): Promise<string> {
  const child = Bun.spawn([...selfCommand, "verify"], {
    cwd: folder,
    env: settings,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  const said = `${stdout}${stderr}`.trim();
  if (exitCode !== 0) report("verify", `exit code ${exitCode}: ${said.slice(0, 2_000)}`);
  return stdout.trim().split("\n").at(-1) ?? "";
}
