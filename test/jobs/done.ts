import type { Instance } from '../../src/stream/instance.ts'

/** Resolves when no job of the instance is left. */
export async function jobsDone(instance: Instance): Promise<void> {
  while ((await instance.storage.count('job', { endedAt: null })) > 0) await new Promise((resolve) => setTimeout(resolve, 5))
}
