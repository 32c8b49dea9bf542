/** A process of its own that opens a shard and instance 1, says so, and keeps them until it is killed. Arguments: url, lease in ms. */
import { openShard } from '../../src/storage/shard.ts'
import { quietPorts } from './engines.ts'

const [url = '', leaseMs = '1000'] = process.argv.slice(2)
const onFatal = () => process.exit(1)
const shard = await openShard({ name: 'other', url, ports: quietPorts(), onFatal, leaseMs: Number(leaseMs) })
await shard.open(1)
process.stdout.write('open')
setInterval(() => undefined, 1_000)
