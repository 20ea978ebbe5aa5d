#!/bin/sh
exec /usr/lib/switchyard/node --disable-proto=throw /usr/lib/switchyard/agent/main.js "$@"
