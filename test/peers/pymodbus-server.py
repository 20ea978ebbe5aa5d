"""Two units of pymodbus on a free port of loopback; every other unit is silent. Prints its port."""
import asyncio
import logging
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server.async_io import ModbusTcpServer

logging.disable(logging.CRITICAL)


async def main():
    def unit(first):
        block = ModbusSequentialDataBlock(0, [(first + address) & 0xFFFF for address in range(2000)])
        return ModbusSlaveContext(hr=block, ir=block, zero_mode=True)

    context = ModbusServerContext(slaves={1: unit(0), 2: unit(1000)}, single=False)
    # Without this an unknown unit is answered with exception 11; many gateways say nothing at all.
    server = ModbusTcpServer(context, address=("127.0.0.1", 0), ignore_missing_slaves=True)
    task = asyncio.ensure_future(server.serve_forever())
    while getattr(server, "server", None) is None or not server.server.sockets:
        await asyncio.sleep(0.01)
    print(server.server.sockets[0].getsockname()[1], flush=True)
    await task


try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(0)
