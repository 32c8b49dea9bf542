/** A job of the server, followed to its end. */
import { follow, type Surroundings } from './ask.ts'

interface Job {
  readonly done: number
  readonly total: number
  readonly error: string | null
}

const width = 30

/** Shows a bar where somebody looks. The job goes on when this is interrupted. */
export async function showProgress(surroundings: Surroundings, id: string): Promise<void> {
  const { overwrite } = surroundings
  const query = 'subscription($id: ID!) { job(id: $id) { done total error } }'
  for await (const { job } of follow(surroundings, query, { id })) overwrite?.(`\r${bar(job as Job)}`)
  overwrite?.('\n')
}

function bar({ done, total, error }: Job): string {
  const filled = total === 0 ? 0 : Math.floor((done / total) * width)
  const text = `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${done}/${total}`
  // What a longer line left behind is wiped out.
  return `${text}${error === null ? '' : `  ${error.split('\n')[0]}, is tried again`}\x1b[K`
}
