/*
 * The same work as the floor of `npm run bench -- poll`, in C: connect, send, take what comes until the other side
 * closes, so many a second. Prints a line to start with and one at the end: exchanges, processor milliseconds,
 * resident KiB. Usage: floor SECONDS EXCHANGES < addresses (one IPv4 a line)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const char REQUEST[] = "{\"command\":\"summary\"}";
static char arriving[64 * 1024];
static in_addr_t *hosts;
static size_t host_count;
static long done;

static double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void begin(int epoll, in_addr_t host) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(4028), .sin_addr.s_addr = host};
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
    close(fd);
    return;
  }
  struct epoll_event wanted = {.events = EPOLLOUT, .data.fd = fd};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted);
}

static void serve(int epoll, struct epoll_event event) {
  int fd = event.data.fd;
  if (event.events & EPOLLOUT) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
    if (write(fd, REQUEST, sizeof REQUEST - 1) < 0) close(fd);
    else epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &wanted);
    return;
  }
  for (;;) {
    ssize_t length = read(fd, arriving, sizeof arriving);
    if (length > 0) continue;
    if (length < 0 && errno == EAGAIN) return;
    done += length == 0;
    close(fd);
    return;
  }
}

int main(int count, char **words) {
  if (count < 3) return 2;
  double seconds = atof(words[1]);
  long exchanges = atol(words[2]), begun = 0;
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    hosts = realloc(hosts, (host_count + 1) * sizeof *hosts);
    hosts[host_count++] = inet_addr(line);
  }
  int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec every = {.it_interval.tv_nsec = 10000000, .it_value.tv_nsec = 10000000};
  timerfd_settime(timer, 0, &every, NULL);
  struct epoll_event wanted = {.events = EPOLLIN, .data.fd = timer}, ready[512];
  epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &wanted);
  puts("measuring");
  fflush(stdout);
  double started = now_seconds(), passed = 0;
  while (host_count > 0 && passed < seconds) {
    int events = epoll_wait(epoll, ready, 512, 100);
    passed = now_seconds() - started;
    for (int at = 0; at < events; at += 1) {
      if (ready[at].data.fd != timer) {
        serve(epoll, ready[at]);
        continue;
      }
      uint64_t ticks;
      if (read(timer, &ticks, sizeof ticks) < 0) continue;
      for (long due = (long)(passed / seconds * (double)exchanges); begun < due; begun += 1)
        begin(epoll, hosts[(size_t)begun % host_count]);
    }
  }
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("%ld %.1f %ld\n", done,
         (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3,
         used.ru_maxrss);
  return 0;
}
