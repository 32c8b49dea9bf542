/** When devices were answered last. It matters for some milliseconds, and is forgotten then. */
import { soonMs } from '../stream/consumer.ts'
import { type Instance, local } from '../stream/instance.ts'

/** By user and device, the longest ago first. */
export const lastAnswers = local(() => new Map<string, number>())
/** A clock that is set back would keep them. */
const mostAnswers = 10_000

export function noteAnswer(instance: Instance, place: string): void {
  const answers = lastAnswers(instance)
  const now = instance.ports.now()
  answers.delete(place)
  for (const [other, answeredAt] of answers) {
    if (now - answeredAt < soonMs && answers.size < mostAnswers) break
    answers.delete(other)
  }
  answers.set(place, now)
}

/** Milliseconds since the epoch; 0 when it is long ago. */
export function lastAnswerTo(instance: Instance, place: string): number {
  return lastAnswers(instance).get(place) ?? 0
}
