{{/* The release's name is the prefix of every object. */}}
{{- define "stellaops.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "stellaops.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{- define "stellaops.image" -}}
{{- printf "%s:%s" .Values.image.repository (include "stellaops.tag" .) -}}
{{- end -}}

{{/* What selects pods: never changes for a release. */}}
{{- define "stellaops.selector" -}}
app.kubernetes.io/name: stellaops
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "stellaops.labels" -}}
app.kubernetes.io/name: stellaops
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ include "stellaops.tag" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
stellaops.io/colour: {{ .Values.colour }}
{{- end -}}

{{/* Labels and annotations of a pod; the checksums roll the pods when their configuration changes. */}}
{{- define "stellaops.podMetadata" -}}
labels:
  {{- include "stellaops.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ include "stellaops.tag" .root | quote }}
  stellaops.io/colour: {{ .root.Values.colour }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .port | quote }}
  checksum/config: {{ include (print .root.Template.BasePath "/configmap.yaml") .root | sha256sum }}
  checksum/secrets: {{ include (print .root.Template.BasePath "/secret.yaml") .root | sha256sum }}
  {{- with .root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Environment of every container: configuration, secrets, and who the pod is. */}}
{{- define "stellaops.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "stellaops.name" . }}-config
  - secretRef:
      name: {{ include "stellaops.name" . }}-secrets
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "stellaops.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The init container that brings the schema to this release, or waits for it. */}}
{{- define "stellaops.migrate" -}}
- name: migrate
  image: {{ include "stellaops.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [{{ ternary "migrate" "wait-schema" (eq .Values.migrations.mode "init") }}]
  {{- include "stellaops.environment" . | nindent 2 }}
  securityContext:
    {{- include "stellaops.securityContext" . | nindent 4 }}
  resources:
    {{- toYaml .Values.resources.migrate | nindent 4 }}
{{- end -}}

{{- define "stellaops.scheduling" -}}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
