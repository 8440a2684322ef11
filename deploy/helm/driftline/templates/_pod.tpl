{{/* The pods of all roles. Each template is given a mapping with `root`, `role`, the role's `values`, and what else it names. */}}

{{/* Without the chart's version, which alone is no reason to start pods anew. */}}
{{- define "driftline.pod.labels" -}}
{{ include "driftline.pod.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: driftline
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Who is who: the labels by which a role's pods are found, which never change. */}}
{{- define "driftline.pod.selector" -}}
{{ include "driftline.selectorLabels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "driftline.pod.metadata" -}}
labels:
  {{- include "driftline.pod.labels" . | nindent 2 }}
annotations:
  {{- if .root.Values.config }}
  checksum/config: {{ include "driftline.config.text" .root | sha256sum }}
  {{- end }}
  kubectl.kubernetes.io/default-container: driftline
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "driftline.pod.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range .values.topologySpreadConstraints }}
  {{- $constraint := deepCopy . }}
  {{- if not (hasKey $constraint "labelSelector") }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "driftline.pod.selector" $ | fromYaml)) }}
  {{- end }}
  - {{ toJson $constraint }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "driftline.pod.security" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- range $key, $id := .root.Values.securityContext }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $key }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What all containers have in common: image, fences, environment, and the folders they see. */}}
{{- define "driftline.container" -}}
image: {{ include "driftline.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: HOME, value: /tmp}
  - {name: TMPDIR, value: /tmp}
  - {name: MPLCONFIGDIR, value: /tmp/matplotlib}
  - {name: DRIFTLINE_LOG_LEVEL, value: {{ .root.Values.log.level | quote }}}
  - {name: DRIFTLINE_LOG_FORMAT, value: {{ .root.Values.log.format | quote }}}
  {{- range $name, $value := .root.Values.env }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- range $name, $reference := merge dict (.values.secretEnv | default dict) .root.Values.secretEnv }}
  - name: {{ $name }}
    valueFrom:
      secretKeyRef: {name: {{ $reference.name | quote }}, key: {{ $reference.key | quote }}}
  {{- end }}
{{- with concat .root.Values.envFrom (.values.envFrom | default list) }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/driftline, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- range $index, $files := .root.Values.secretFiles }}
  - {name: secret-{{ $index }}, mountPath: {{ $files.mountPath | quote }}, readOnly: true}
  {{- end }}
  {{- with .root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "driftline.volumes" -}}
- name: config
  configMap:
    name: {{ .configMap | quote }}
    items:
      - {key: {{ include "driftline.configMapKey" .root | quote }}, path: driftline.yaml}
- name: tmp
  emptyDir: {sizeLimit: {{ .values.tmpSize }}}
{{- range $index, $files := .root.Values.secretFiles }}
- name: secret-{{ $index }}
  secret:
    secretName: {{ $files.secretName | quote }}
    # 0440: for the user and the group of the pod.
    defaultMode: 288
    {{- with $files.items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A service is up once its database has been reached, for which it waits a minute; then it answers at once, or not at all. */}}
{{- define "driftline.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 3
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 3
{{- end }}

{{/* The Deployment of a role; `scaled` says that something else sets the number of its pods. */}}
{{- define "driftline.deployment" -}}
{{- include "driftline.check" .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "driftline.fullname" .root }}-{{ .role }}
  labels:
    {{- include "driftline.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  {{- if not .scaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "driftline.pod.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: {{ .maxSurge }}, maxUnavailable: {{ .maxUnavailable }}}
  template:
    metadata:
      {{- include "driftline.pod.metadata" . | nindent 6 }}
    spec:
      serviceAccountName: {{ include "driftline.serviceAccountName" .root }}
      {{- include "driftline.pod.security" . | nindent 6 }}
      # Told to stop, a process commits what it holds and leaves within 10 seconds.
      terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
      {{- with include "driftline.pod.placement" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: driftline
          args: [run, --config, /etc/driftline/driftline.yaml, --role, {{ .role }}, --http-port, {{ .root.Values.port | quote }}]
          ports:
            - {name: http, containerPort: {{ .root.Values.port }}, protocol: TCP}
          {{- include "driftline.probes" . | nindent 10 }}
          {{- include "driftline.container" . | nindent 10 }}
      volumes:
        {{- include "driftline.volumes" (merge (dict "configMap" (include "driftline.configMapName" .root)) .) | nindent 8 }}
{{- end }}
