#!/usr/bin/python3
"""A Modbus module for tests, made of pymodbus: not our code. Unit 1, 16 points (0 to 15) in every table.

    server.py tcp PORT | server.py rtu TTY

Told on its input: "set di 3 1", "set co 0 0", "reads di". Tells on its output: "ready VERSION", "set NANOSECONDS"
(monotonic), "reads REQUESTS COUNT_OF_THE_LAST", and by itself "wrote co 0 [1, 0]" for whatever is written. Ends when its
input does.

pymodbus changes its API from release to release: this copes with 3.0 (Debian 12), 3.6 (Ubuntu 24.04), 3.8 (Debian 13)
and newer.
"""

import asyncio
import inspect
import logging
import os
import sys
import threading
import time

import pymodbus
import pymodbus.datastore as datastore
import pymodbus.server as server

# It tells of every lost connection; the tests cause them.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)

POINTS = 16


TELLING = threading.Lock()


def tell(*words):
    # Two threads tell: a line that is printed in parts would be torn by the other's.
    with TELLING:
        print(*words, flush=True)


class Table(datastore.ModbusSequentialDataBlock):
    """One table. All releases add 1 to the address before they come here, unless told not to."""

    def __init__(self, name):
        super().__init__(1, [0] * POINTS)
        self.name = name
        self.reads = 0
        self.last = 0

    def _read(self, count):
        self.reads += 1
        self.last = count

    def _wrote(self, address, values):
        tell("wrote", self.name, address - 1, [int(value) for value in values])

    if hasattr(datastore.ModbusSequentialDataBlock, "setValues"):

        def getValues(self, address, count=1):
            self._read(count)
            return super().getValues(address, count)

        def setValues(self, address, values):
            result = super().setValues(address, values)
            self._wrote(address, values)
            return result

    else:

        async def async_getValues(self, address, count=1):
            self._read(count)
            return await super().async_getValues(address, count)

        async def async_setValues(self, address, values):
            result = await super().async_setValues(address, values)
            self._wrote(address, values)
            return result


def context(tables):
    """3.10 renamed slaves to devices."""
    if hasattr(datastore, "ModbusDeviceContext"):
        return datastore.ModbusServerContext(devices={1: datastore.ModbusDeviceContext(**tables)}, single=False)
    return datastore.ModbusServerContext(slaves={1: datastore.ModbusSlaveContext(**tables)}, single=False)


def rtu_framer():
    """A class, then one enumeration, then another."""
    try:
        from pymodbus.framer import FramerType

        return FramerType.RTU
    except ImportError:
        from pymodbus.transaction import ModbusRtuFramer

        return ModbusRtuFramer


def version():
    plain = getattr(pymodbus, "__version__", None)
    if isinstance(plain, str):
        return plain
    from pymodbus.version import version as old

    return old.short()


async def serve_tcp(units, port):
    options = {"context": units, "address": ("127.0.0.1", port)}
    try:
        from pymodbus.server.async_io import ModbusTcpServer

        if "allow_reuse_address" in inspect.signature(ModbusTcpServer.__init__).parameters:
            options["allow_reuse_address"] = True
    except ImportError:
        pass
    running = asyncio.ensure_future(server.StartAsyncTcpServer(**options))
    while not running.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    tell("ready", version())
    await running


async def serve_rtu(units, tty):
    framer = rtu_framer()
    options = {"context": units, "framer": framer, "port": tty, "baudrate": 115200, "stopbits": 1, "parity": "N"}
    running = asyncio.ensure_future(server.StartAsyncSerialServer(**options))
    tell("ready", version())
    await running


def listen(tables):
    for line in sys.stdin:
        match line.split():
            case ["set", name, address, value]:
                tables[name].values[int(address)] = int(value)
                tell("set", time.clock_gettime_ns(time.CLOCK_MONOTONIC))
            case ["reads", name]:
                tell("reads", tables[name].reads, tables[name].last)
            case _:
                tell("what?", line.strip())
    os._exit(0)


def main():
    tables = {name: Table(name) for name in ("di", "co", "ir", "hr")}
    threading.Thread(target=listen, args=(tables,), daemon=True).start()
    how, where = sys.argv[1:]
    units = context(tables)
    asyncio.run(serve_tcp(units, int(where)) if how == "tcp" else serve_rtu(units, where))


main()
