// A receiver of Node's own servers: node receiver.mjs PORT CONTROL-PORT TLS-VERSION PROTOCOL
// It reads its keys from the working directory. The control port tells how many requests and body bytes have come.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'

const [port, control, version, protocol] = process.argv.slice(2)
let requests = 0
let bytes = 0

const options = {
  cert: readFileSync('server.pem'),
  key: readFileSync('server.key'),
  ca: readFileSync('ca.pem'),
  crl: readFileSync('crl.pem'),
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: version,
  maxVersion: version,
}

const application = (request, response) => {
  requests++
  request.on('data', (chunk) => { bytes += chunk.length })
  request.on('end', () => {
    response.statusCode = 204
    response.end()
  })
}

const server = protocol === 'h2'
  ? http2.createSecureServer({ ...options, allowHTTP1: false }, application)
  : https.createServer(options, application)
server.listen(Number(port), '127.0.0.1')
http.createServer((_, response) => response.end(`${requests} ${bytes}\n`)).listen(Number(control), '127.0.0.1')
