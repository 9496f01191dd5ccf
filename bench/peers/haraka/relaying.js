// Lets everybody on loopback send, and passes all mail on to one port, as Postfix does with its relayhost.
'use strict'

exports.hook_connect = (next, connection) => {
    connection.relaying = true
    next()
}

exports.hook_rcpt = (next) => next(OK)

exports.hook_get_mx = (next) => next(OK, { priority: 0, exchange: '127.0.0.1', port: Number(process.env.FAR_END) })
