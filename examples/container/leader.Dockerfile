# A container for a program that runs on one host of many: the agent is the first
# process, and runs the command of the image while it leads. Here the program is cron.
#
#	docker build -t doyen -f examples/container/Dockerfile .
#	docker build -t cron-on-the-leader -f examples/container/leader.Dockerfile .
#	docker run --network host cron-on-the-leader --seeds 10.0.0.1,10.0.0.2,10.0.0.3 -- crond -f
#
# On a signal, such as from `docker stop`, the agent hands over: the command gets SIGTERM,
# and is dead before another host starts its own. The container prints the output of the
# command.
FROM doyen AS doyen

FROM alpine:3
COPY --from=doyen /agent /usr/local/bin/agent
ENTRYPOINT ["/usr/local/bin/agent"]
CMD ["--", "crond", "-f"]
