{{/*
A policy that confines a service account whose pods report through the API: with the token of its own
pod, into the status of the one object that names this pod, and nothing else of our group, whatever
RBAC may grant by mistake.

Called with (dict "root" $ "kind" an entry of files/kinds.yaml "account" the service account's name).
*/}}
{{- define "modelyard.reporterPolicy" -}}
{{- $reporter := .kind.reporter -}}
{{- $name := printf "%s-%s-reports" (include "modelyard.fullname" .root) $reporter.who -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels: {{- include "modelyard.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [modelyard.dev]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: ["*/*"]
  matchConditions:
    - name: {{ $reporter.who }}
      expression: >-
        {{- include "modelyard.isAccount" .account | nindent 8 }}
  variables:
    # The API server takes this from the token; the pod cannot set it.
    - name: pod
      expression: >-
        has(request.userInfo.extra) && 'authentication.kubernetes.io/pod-name' in request.userInfo.extra
        ? request.userInfo.extra['authentication.kubernetes.io/pod-name'][0] : ''
    - name: report
      expression: >-
        request.operation == 'UPDATE' && request.resource.resource == '{{ .kind.plural }}' &&
        has(request.subResource) && request.subResource == 'status' &&
        request.userInfo.username == 'system:serviceaccount:' + request.namespace + ':{{ .account }}'
    - name: owner
      expression: {{ $reporter.pod | quote }}
    - name: before
      expression: "has(oldObject.status) ? dyn(oldObject.status) : dyn({})"
    - name: after
      expression: "has(object.status) ? dyn(object.status) : dyn({})"
  validations:
    - expression: variables.report
      reason: Forbidden
      message: >-
        the service account {{ .account }} may only change the status of {{ .kind.kind }} objects in its
        own namespace
    - expression: variables.pod != ''
      reason: Forbidden
      message: >-
        this token of the service account {{ .account }} names no pod: use the token that is mounted
        into the {{ $reporter.who }}'s pod
    - expression: "!variables.report || (variables.owner != '' && variables.pod == variables.owner)"
      reason: Forbidden
      messageExpression: >-
        'pod ' + (variables.pod == '' ? '(none)' : variables.pod) + ' may not report for {{ .kind.kind }} ' +
        request.name + ', which belongs to ' +
        (variables.owner == '' ? 'no pod yet' : 'pod ' + variables.owner)
    {{- with $reporter.allowed }}
    - expression: {{ . | quote }}
      reason: Forbidden
      message: {{ $reporter.refusal | quote }}
    {{- end }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels: {{- include "modelyard.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end }}
