export type CurlAnswer = {
  readonly exitCode: number;
  readonly httpVersion: string;
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
};

/** Runs curl, which must be installed, and takes its answer apart. */
export const curl = async (url: string, ...args: string[]): Promise<CurlAnswer> => {
  const common = ["curl", "--silent", "--include", "--max-time", "20"];
  const child = Bun.spawn([...common, ...args, url], { stdout: "pipe", stderr: "inherit" });
  const [output, exitCode] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  const end = output.indexOf("\r\n\r\n");
  const [first = "", ...lines] = output.slice(0, end).split("\r\n");
  const [httpVersion = "", status = "0"] = first.split(" ");
  const headers = new Headers(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  );
  return { exitCode, httpVersion, status: Number(status), headers, body: output.slice(end + 4) };
};

export const json = ["--header", "content-type: application/json", "--data"];
