/** How much a page of events holds: where they are large it ends early, as if fewer had been asked for. */

/** Of the events of a page together, UTF-16 code units of JSON. A thousand usually have half of it; one has 64 KiB, and as much of an edit. */
export const longestPage = 2_000_000

/** Events that are read or written together: so many large ones are held beside the page. */
export const eventsTogether = 128

/** As many of the rows as a page holds, from the first on, written by `format`; one at least. */
export async function formatPage<Row>(
  rows: readonly Row[],
  format: (rows: readonly Row[]) => Promise<readonly string[]>,
  longest = longestPage,
): Promise<string[]> {
  const texts: string[] = []
  let length = 0
  for (let i = 0; i < rows.length; i += eventsTogether) {
    for (const text of await format(rows.slice(i, i + eventsTogether))) {
      length += text.length
      if (length > longest && texts.length > 0) return texts
      texts.push(text)
    }
  }
  return texts
}
