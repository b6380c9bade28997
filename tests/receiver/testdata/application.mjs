// An application behind a proxy, which compares the caller's name with the printed caller.mjs:
// node application.mjs PORT CONTROL-PORT CALLER-MODULE
import http from 'node:http'
import { pathToFileURL } from 'node:url'

const [port, control, module] = process.argv.slice(2)
const { isHandfast } = await import(pathToFileURL(module))
let requests = 0
let bytes = 0

http.createServer((request, response) => {
  if (!isHandfast(request.headers)) {
    response.statusCode = 495
    response.end()
    return
  }
  requests++
  request.on('data', (chunk) => { bytes += chunk.length })
  request.on('end', () => {
    response.statusCode = 204
    response.end()
  })
}).listen(Number(port), '127.0.0.1')
http.createServer((_, response) => response.end(`${requests} ${bytes}\n`)).listen(Number(control), '127.0.0.1')
