/*
 * A server of libmodbus that serves an Eastron SDM630 under load. Without arguments over Modbus TCP, one client at a
 * time, and prints its port; with the name of a terminal as unit 1 on a serial line, and prints 0.
 */
#include <arpa/inet.h>
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void put(modbus_mapping_t *map, int address, float value) {
  /* By hand: modbus_set_float_abcd of libmodbus 3.1.6 swaps the bytes inside the words. */
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  map->tab_input_registers[address] = bits >> 16;
  map->tab_input_registers[address + 1] = bits & 0xFFFF;
}

static int serve_line(modbus_t *context, modbus_mapping_t *map) {
  uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
  modbus_set_slave(context, 1);
  if (modbus_connect(context) < 0) return 4;
  printf("0\n");
  fflush(stdout);
  for (;;) {
    int received = modbus_receive(context, query);
    if (received > 0) modbus_reply(context, query, received, map);
    else if (received < 0) modbus_flush(context);
  }
}

int main(int count, char **arguments) {
  const char *line = count > 1 ? arguments[1] : NULL;
  modbus_t *context = line ? modbus_new_rtu(line, 19200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", 0);
  modbus_mapping_t *map = modbus_mapping_new_start_address(0, 0, 0, 0, 64512, 2, 0, 400);
  if (context == NULL || map == NULL) return 1;
  for (int phase = 0; phase < 3; phase++) {
    put(map, 2 * phase, 230.5f);
    put(map, 6 + 2 * phase, 43.5f);
    put(map, 12 + 2 * phase, 10000.0f);
  }
  put(map, 52, 30000.0f);
  put(map, 56, 30080.25f);
  put(map, 70, 49.98f);
  put(map, 72, 1234.5f);
  put(map, 74, 6.75f);
  map->tab_registers[0] = 0x0134;
  map->tab_registers[1] = 0xB722; /* serial 20231970 */
  if (line) return serve_line(context, map);
  int listener = modbus_tcp_listen(context, 1);
  if (listener < 0) return 2;
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    if (modbus_tcp_accept(context, &listener) < 0) return 3;
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
      int received = modbus_receive(context, query);
      if (received < 0) break;
      if (received > 0) modbus_reply(context, query, received, map);
    }
    modbus_close(context);
  }
}
