# Your flows on top of Trunkline's image. From the folder that has flows/ and environments/:
#
#   docker build -f flows.Dockerfile -t registry.example.com/acme/flows:1.4.0 \
#     --build-arg TRUNKLINE=registry.example.com/trunkline:0.1.0@sha256:… .
ARG TRUNKLINE=trunkline:0.1.0

FROM ${TRUNKLINE}
COPY environments/ environments/
COPY flows/ flows/
# A mistake in a flow ends the build, and not the deployment.
RUN trunkline check flows/*.py
