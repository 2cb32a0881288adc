/** Writes to the standard output; resolves when it is written: a pipe that is read slowly holds the caller up, and the process ends soon. */
export const print = (content: string | Uint8Array): Promise<void> =>
  new Promise((done, fail) => {
    process.stdout.write(content, (error) => (error ? fail(error) : done()));
  });
