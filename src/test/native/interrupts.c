/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.host.InterruptsBench: reads the file of its
 * argument. For each line "OPERATION COUNT" of its input it prints the
 * nanoseconds of one of so many reads. With the operation "sum" it also adds up
 * the numbers of the file, digit by digit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1 << 20)

static char piece[PIECE];
/* Volatile, so that the compiler does not leave out the sums. */
static volatile uint64_t answers;

static void scan(const char *file, int sum)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	uint64_t number = 0;
	ssize_t got;

	if (fd < 0) {
		perror(file);
		exit(1);
	}
	while ((got = read(fd, piece, PIECE)) > 0) {
		for (ssize_t i = 0; sum && i < got; i++) {
			unsigned digit = (unsigned char)piece[i] - (unsigned)'0';

			if (digit < 10) {
				number = number * 10 + digit;
			} else {
				answers += number;
				number = 0;
			}
		}
	}
	close(fd);
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int argc, char **argv)
{
	char operation[32];
	long count;

	if (argc != 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%31s %ld", operation, &count) == 2) {
		int64_t start = now();

		for (long i = 0; i < count; i++)
			scan(argv[1], strcmp(operation, "sum") == 0);
		printf("%.3f\n", (double)(now() - start) / (double)count);
	}
	return 0;
}
